"""The live progress of a job: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from manyhands_cli import show

#: Seconds between lines where no terminal is.
LINE_EVERY = 10.0


class JobProgress:
    """Shows how far a job is, on standard error."""

    def __init__(self, name: str, *, quiet: bool = False, console: Console | None = None) -> None:
        self._console = console or show.notes()
        self._name, self._quiet, self._lined, self._noted = name, quiet, -LINE_EVERY, ""
        self._live = self._console.is_terminal and not quiet
        self._bar = _Bar(
            TextColumn("{task.description}", style="bold", markup=False),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
        )
        self._task = self._bar.add_task(name, total=None, said="")

    def __enter__(self) -> JobProgress:
        if self._live:
            self._bar.start()
        return self

    def __exit__(self, *_error: object) -> None:
        if self._live:
            self._bar.stop()

    def update(self, aggregator: Mapping[str, Any], producer: Mapping[str, Any] | None, elapsed: float) -> None:
        """Show what both services say of the job; ``elapsed`` seconds after it began to be followed."""
        settled = aggregator["answered"] + aggregator["failed"]
        known = max(aggregator["tasks"], (producer or {}).get("tasks", 0))
        said = counts(aggregator, producer)
        self._noted = ""
        if self._live:
            self._bar.update(self._task, completed=settled, total=known or None, said=said)
        elif not self._quiet and (elapsed - self._lined >= LINE_EVERY or aggregator["state"] != "open"):
            self._lined = elapsed
            self._line(f"{self._name}: {settled:,} of {known:,} tasks · {said}")

    def note(self, text: str) -> None:
        """Something to know meanwhile, such as what is being waited for; said once."""
        if text == self._noted:
            return
        self._noted = text
        if self._live:
            self._bar.update(self._task, said=text)
        elif not self._quiet:
            self._line(text)

    def _line(self, text: str) -> None:
        self._console.print(text, soft_wrap=True)


class _Bar(Progress):
    """A bar, and below it what is counted: beside it, that fits no narrow terminal."""

    def get_renderables(self) -> Iterable[RenderableType]:
        """The two lines."""
        yield self.make_tasks_table(self.tasks)
        for task in self.tasks:
            yield Text(task.fields["said"])


def counts(aggregator: Mapping[str, Any], producer: Mapping[str, Any] | None) -> str:
    """Published, judgments (failed ones are among them), answered, failed, rate and time left, as one line."""
    suites = "suite" if producer and producer["published"] == 1 else "suites"
    parts = [f"published {producer['published']:,} {suites}"] if producer else []
    parts += [f"{word} {aggregator[key]:,}" for word, key in (("judgments", "judgments"), ("answered", "answered"))]
    parts += [f"failed {aggregator['failed']:,}", f"{aggregator['rate']:,.0f}/s"]
    if aggregator["eta_seconds"]:
        parts.append(f"{show.duration(aggregator['eta_seconds'])} left")
    if aggregator.get("unserved"):
        parts.append(f"no worker serves {', '.join(aggregator['unserved'])}")
    return " · ".join(parts)
