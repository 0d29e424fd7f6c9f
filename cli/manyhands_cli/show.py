"""What people see, and programs read, on standard output."""

from __future__ import annotations

import functools
import json
import re
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what draws tables takes its time to import, and JSON needs none
    from rich.console import Console

#: Control characters but for tab and line feed, and those that turn the direction of a text.
_COMMANDS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
#: Columns where no terminal says how many: room for a line of a table.
WIDE = 160


@functools.cache
def out() -> Console:
    """Standard output."""
    from rich.console import Console

    return Console(highlight=False, markup=False, soft_wrap=True, width=None if sys.stdout.isatty() else WIDE)


@functools.cache
def notes() -> Console:
    """Standard error: progress and notes go here, so that standard output is what was asked for."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, markup=False)


def as_json(data: Any, indent: int | None = None) -> None:
    """JSON on standard output, in one line unless indented."""
    sys.stdout.write(printable(json.dumps(data, ensure_ascii=False, indent=indent)) + "\n")
    sys.stdout.flush()


def line(text: str) -> None:
    """A line on standard output."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def table(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], on: Console | None = None) -> None:
    """Rows as a table on standard output, or ``on`` another."""
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False)
    for column in columns:
        drawn.add_column(column.replace("_", " "))
    for row in rows:
        # as Text: what looks like markup in an error is no markup
        drawn.add_row(*(Text(cell(row.get(column), column)) for column in columns))
    (on or out()).print(drawn)


def pairs(data: Mapping[str, Any]) -> None:
    """A map as two columns on standard output."""
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, show_header=False, pad_edge=False)
    for key, value in data.items():
        drawn.add_row(Text(key.replace("_", " "), style="bold"), Text(cell(value, key)))
    out().print(drawn)


def cell(value: Any, key: str = "") -> str:
    """A value as people read it; the key tells which numbers are times and durations."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)) and key in ("opened", "ended", "at", "first", "last"):
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(value))
    if isinstance(value, (int, float)) and key in ("seconds", "eta_seconds", "load_seconds"):
        return duration(value)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, (list, dict)):
        return printable(json.dumps(_short(value), ensure_ascii=False)) if value else "none"
    return printable(str(value))


def _short(value: Any) -> Any:
    """Lists and maps with their numbers at the digits that people read."""
    if isinstance(value, dict):
        return {key: _short(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_short(each) for each in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def printable(text: str) -> str:
    """The text without what a terminal would obey: what handlers and items say may hold commands for it."""
    return _COMMANDS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def duration(seconds: float | None) -> str:
    """Seconds as people say them."""
    if seconds is None:
        return "?"
    whole = int(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 60} min {whole % 60:02d} s" if whole >= 60 else f"{seconds:.1f} s"
