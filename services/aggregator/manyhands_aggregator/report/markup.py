"""HTML as values: text cannot become markup, because only what these functions return is taken for it."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

#: Characters that HTML may not hold, or that would turn the direction of the text around them.
_UNSEEMLY = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
#: Elements that have no end tag.
_VOID = frozenset({"meta", "br"})
#: Characters of a text from outside that are shown; a task's answer may be a book.
LONG = 160


class Html(str):
    """Text that is markup."""

    __slots__ = ()


#: What may stand in an element: markup as it is, text escaped, nothing for None.
Child = Html | str | int | None


def text(said: str) -> Html:
    """Text as markup that shows it, whatever it holds."""
    return Html(html.escape(_UNSEEMLY.sub(lambda found: f"\\u{ord(found[0]):04x}", said), quote=True))


def el(tag: str, *children: Child, **attributes: str | int | float | None) -> Html:
    """An element. ``class_`` is the attribute class, ``text_anchor`` text-anchor; None leaves an attribute out."""
    named = ((name.rstrip("_").replace("_", "-"), value) for name, value in attributes.items() if value is not None)
    head = tag + "".join(f' {name}="{text(_number(value))}"' for name, value in named)
    return Html(f"<{head}>" if tag in _VOID else f"<{head}>{join(children)}</{tag}>")


def join(children: Iterable[Child]) -> Html:
    """Elements and texts one after the other."""
    return Html("".join(c if isinstance(c, Html) else text(str(c)) for c in children if c is not None))


def outside(said: str, most: int = LONG) -> Html:
    """Text that somebody else wrote: cut where it is long, and kept from turning the text around it."""
    return el("bdi", said if len(said) <= most else said[: most - 1] + "…")


def _number(value: str | int | float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
