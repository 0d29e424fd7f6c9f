"""What an expression of PromQL selects, and the same expression for the namespaces that are chosen."""

from __future__ import annotations

import re

#: In an expression, first what is no series (text, numbers, groupings, ranges), then what may be one.
SELECTOR = re.compile(
    r"""
      "(?:[^"\\]|\\.)*"
    | \b\d[\w.]*
    | \b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)
    | \boffset\s+\w+ | \[[^]]*\]
    | (?P<series> (?:[a-zA-Z_:][\w:]*)?\{(?:[^"}]|"(?:[^"\\]|\\.)*")*\}
      | [a-zA-Z_:][\w:]*(?![\w:]|\s*(?:by\b|without\b)?\s*\() )
    """,
    re.VERBOSE,
)
WORDS = {"and", "or", "unless", "bool", "by", "without", "on", "ignoring", "offset", "group_left", "group_right"}

#: Of all namespaces this matches also none: what compose has scraped has no such label.
CHOSEN = 'namespace=~"$namespace"'


def selectors(expression: str) -> set[str]:
    """What an expression selects series by."""
    found = {match["series"] for match in SELECTOR.finditer(expression) if match["series"]}
    return {" ".join(series.split()) for series in found} - WORDS


def chosen(expression: str) -> str:
    """The expression with every selector narrowed to the chosen namespaces."""

    def narrowed(match: re.Match[str]) -> str:
        series = match["series"]
        if series is None or series in WORDS:
            return match[0]
        return f"{series[:-1]}, {CHOSEN}}}" if series.endswith("}") else f"{series}{{{CHOSEN}}}"

    return SELECTOR.sub(narrowed, expression)
