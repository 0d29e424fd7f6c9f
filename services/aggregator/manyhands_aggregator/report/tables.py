"""Tables: rows with bars in them, options against options, and what stands behind a chart."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from manyhands_aggregator.report.markup import Child, Html, el, join, outside
from manyhands_aggregator.report.said import count, share

#: Columns whose heads are longer than this are turned upright.
UPRIGHT = 4

#: Cells of a larger share of their row are so dark that their number is light.
STRONG = 0.8


def table(caption: str, heads: Sequence[str], rows: Sequence[Sequence[Child]], words: Collection[int] = (0,)) -> Html:
    """A table whose first column names the row; the columns at ``words`` are words, the others numbers."""
    head = [_head(name, "" if at in words else "number") for at, name in enumerate(heads)]
    top = el("thead", el("tr", join(head))) if any(heads) else None
    body = []
    for first, *others in rows:
        cells = [el("td", c, class_=None if at in words else "number") for at, c in enumerate(others, 1)]
        body.append(el("tr", el("th", first, scope="row"), join(cells)))
    drawn = el("table", el("caption", caption), top, el("tbody", join(body)))
    return el("div", drawn, class_="wide", tabindex=0, role="region", aria_label=caption)


def _head(name: str, class_: str) -> Html:
    """The head of a column; one of bars, which only draw the number beside them, has none."""
    return el("th", name, scope="col", class_=class_ or None) if name else el("td")


def bar(part: float) -> Html:
    """A bar of a share of 0..1, for a cell beside its number."""
    return el("span", el("i", style=f"width:{part * 100:.1f}%"), class_="bar", aria_hidden="true")


def matrix(caption: str, down: str, across: str, options: Sequence[str], counts: NDArray[np.int64]) -> Html:
    """Options against options: a row's cells are the darker, the larger their share of the row."""
    upright = "upright" if any(len(option) > UPRIGHT for option in options) else None
    heads = [el("th", outside(option, 24), scope="col", class_=upright) for option in options]
    body = []
    for option, row in zip(options, counts.tolist(), strict=True):
        total = sum(row)
        cells = [_cell(number, total, option, other) for number, other in zip(row, options, strict=True)]
        body.append(el("tr", el("th", outside(option, 24), scope="row"), join(cells), el("td", count(total))))
    first = el("tr", el("td", class_="corner"), el("th", across, colspan=len(options), scope="colgroup"), el("td"))
    second = el("tr", el("th", down, scope="col", class_="corner"), join(heads), el("th", "all", scope="col"))
    drawn = el("table", el("caption", caption), el("thead", first, second), el("tbody", join(body)), class_="matrix")
    return el("div", drawn, class_="wide", tabindex=0, role="region", aria_label=caption)


def _cell(number: int, total: int, row: str, column: str) -> Html:
    if not number:
        return el("td", "·", class_="none")
    part = number / total
    kinds = ["right" if row == column else "wrong", *(["strong"] if part > STRONG else [])]
    return el("td", count(number), class_=" ".join(kinds), style=f"--v:{part:.2f}", title=f"{share(part)} of the row")


def behind(inner: Html) -> Html:
    """The table of a chart, folded away."""
    return el("details", el("summary", "as a table"), inner)


def figure(caption: str, *inner: Child, note: str | None = None) -> Html:
    """A chart or table with what it shows."""
    said = el("figcaption", el("b", caption), None if note is None else el("span", note))
    return el("figure", said, join(inner))


def section(title: str, lede: str | None, *inner: Child) -> Html:
    """A part of the page; None where it has nothing to show is left out."""
    return el("section", el("h2", title), None if lede is None else el("p", lede), join(inner))


def side_by_side(*figures: Child) -> Html:
    """Figures in two columns where there is room."""
    return el("div", join(figures), class_="grid")
