"""What people see: progress bars, tables, one line of JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

#: Progress and notes go to standard error, so that standard output is what was asked for.
NOTES = Console(stderr=True, highlight=False)
OUT = Console(highlight=False, soft_wrap=True)


def as_json(data: Any) -> None:
    """One line of JSON on standard output."""
    sys.stdout.write(json.dumps(data, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def table(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], title: str | None = None) -> None:
    """Rows as a table on standard output."""
    drawn = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for column in columns:
        drawn.add_column(column.replace("_", " "))
    for row in rows:
        drawn.add_row(*(cell(row.get(column)) for column in columns))
    OUT.print(drawn)


def pairs(data: Mapping[str, Any]) -> None:
    """A map as two columns on standard output."""
    drawn = Table(box=None, show_header=False, pad_edge=False)
    for key, value in data.items():
        drawn.add_row(f"[bold]{key.replace('_', ' ')}[/]", cell(value))
    OUT.print(drawn)


def cell(value: Any) -> str:
    """A value as people read it."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, (list, dict)):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def duration(seconds: float | None) -> str:
    """Seconds as people say them."""
    if seconds is None:
        return "?"
    whole = int(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 60} min {whole % 60:02d} s" if whole >= 60 else f"{seconds:.1f} s"


class JobProgress:
    """The live progress of a job: a bar on a terminal, a line now and then elsewhere."""

    #: Seconds between lines where no terminal is.
    LINE_EVERY = 10.0

    def __init__(self, name: str, *, quiet: bool = False) -> None:
        self._quiet, self._lined = quiet, 0.0
        self._live = NOTES.is_terminal and not quiet
        self._bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[said]}"),
            TimeElapsedColumn(),
            console=NOTES,
            transient=False,
        )
        self._task = self._bar.add_task(name, total=None, said="")
        self._name = name

    def __enter__(self) -> JobProgress:
        if self._live:
            self._bar.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._bar.stop()

    def update(self, aggregator: Mapping[str, Any], producer: Mapping[str, Any] | None, elapsed: float) -> None:
        """Show how far it is."""
        settled = aggregator["answered"] + aggregator["failed"]
        known = max(aggregator["tasks"], (producer or {}).get("tasks", 0))
        published = f"published {producer['published']:,} suites · " if producer else ""
        eta = "" if aggregator["eta_seconds"] in (None, 0.0) else f" · {duration(aggregator['eta_seconds'])} left"
        said = (
            f"{published}judged {aggregator['judgments']:,} · answered {aggregator['answered']:,} · "
            f"failed {aggregator['failed']:,} · {aggregator['rate']:,.0f}/s{eta}"
        )
        if self._live:
            self._bar.update(self._task, completed=settled, total=known or None, said=said)
        elif not self._quiet and (elapsed - self._lined >= self.LINE_EVERY or aggregator["state"] != "open"):
            self._lined = elapsed
            NOTES.print(f"{self._name}: {settled:,} of {known:,} tasks · {said}", soft_wrap=True)

    def note(self, text: str) -> None:
        """Something to know meanwhile, such as what is being waited for."""
        if self._live:
            self._bar.update(self._task, said=text)
        elif not self._quiet:
            NOTES.print(text, soft_wrap=True)
