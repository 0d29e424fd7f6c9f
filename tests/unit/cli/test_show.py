"""How values, tables and progress look to people."""

from __future__ import annotations

import io
import json
import re

import pytest
from rich.console import Console

from manyhands_cli import show
from manyhands_cli.progress import JobProgress, counts

OPEN = {
    "state": "open", "tasks": 2000, "answered": 900, "failed": 100, "cancelled": 0, "judgments": 3000, "rate": 250.0,
    "eta_seconds": 4.0,
}  # fmt: skip
PRODUCER = {"published": 12, "tasks": 3000}


@pytest.mark.parametrize(
    ("value", "key", "said"),
    [
        (None, "", "-"),
        (True, "", "yes"),
        (False, "", "no"),
        (1234567, "", "1,234,567"),
        (0.123456, "", "0.1235"),
        (12345.6, "", "12,346"),
        ({"a": "é"}, "", '{"a": "é"}'),
        ([{"votes": [59.34360879617755, 2]}], "", '[{"votes": [59.3436, 2]}]'),
        ("text", "", "text"),
        (75.0, "seconds", "1 min 15 s"),
        (None, "eta_seconds", "-"),
    ],
)
def test_cells(value: object, key: str, said: str) -> None:
    """Values are written for eyes."""
    assert show.cell(value, key) == said


@pytest.mark.parametrize(("published", "said"), [(1, "published 1 suite"), (2, "published 2 suites")])
def test_one_suite_is_one(published: int, said: str) -> None:
    """As people count."""
    assert counts(OPEN, {"published": published}).split(" · ")[0] == said


def test_times_are_local_dates() -> None:
    """Seconds since 1970 are not for people."""
    assert re.fullmatch(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d", show.cell(1_700_000_000.5, "opened"))


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(None, "?"), (0.04, "0.0 s"), (59.94, "59.9 s"), (60, "1 min 00 s"), (3599, "59 min 59 s"), (7384, "2 h 03 min")],
)
def test_durations(seconds: float | None, said: str) -> None:
    """Seconds, minutes and hours, each where it fits."""
    assert show.duration(seconds) == said


def test_what_looks_like_markup_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    """An error with brackets in it is shown as it is."""
    show.out.cache_clear()
    show.table([{"error": "[Errno 2] no [/bold] file", "n": 1}], ("error", "n"))
    show.pairs({"reason": "[red]not red"})
    said = capsys.readouterr().out
    show.out.cache_clear()
    assert "[Errno 2] no [/bold] file" in said
    assert "[red]not red" in said


def test_nothing_that_is_shown_commands_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """What a handler raised, or an item held, is text for the eyes: its control characters are written out."""
    evil = "\x1b]0;title\x07\x9b2J\u202egpj.exe\r\n\t"
    show.out.cache_clear()
    show.table([{"error": evil}], ("error",))
    show.pairs({"reason": evil, "more": [evil]})
    show.as_json({"error": evil})
    said = capsys.readouterr().out
    show.out.cache_clear()
    assert not set(said) & set("\x1b\x07\x9b\u202e\r")
    assert said.count("\\u001b]0;title\\u0007\\u009b2J\\u202egpj.exe") == 4
    assert json.loads(said.splitlines()[-1]) == {"error": evil}


def followed(*, terminal: bool) -> str:
    """What is written while a job is followed."""
    written = io.StringIO()
    console = Console(file=written, force_terminal=terminal, width=200, markup=False, highlight=False)
    with JobProgress("digits-1", console=console) as progress:
        progress.note("waiting for the broker")
        progress.note("waiting for the broker")
        progress.update(OPEN, PRODUCER, 0.1)
        progress.update(OPEN, PRODUCER, 0.2)
        progress.update({**OPEN, "state": "complete", "eta_seconds": 0.0}, PRODUCER, 0.3)
    return written.getvalue()


def test_progress_without_a_terminal_is_lines() -> None:
    """A note once, the first line at once, the next after ten seconds or at the end."""
    assert followed(terminal=False).splitlines() == [
        "waiting for the broker",
        "digits-1: 1,000 of 3,000 tasks · published 12 suites · judgments 3,000 · answered 900 · failed 100 · 250/s"
        " · 4.0 s left",
        "digits-1: 1,000 of 3,000 tasks · published 12 suites · judgments 3,000 · answered 900 · failed 100 · 250/s",
    ]


def test_progress_on_a_terminal_is_a_bar() -> None:
    """Everything that is counted stands below the bar."""
    said = followed(terminal=True)
    for part in (
        "digits-1",
        "1000/3000",
        "published 12 suites",
        "judgments 3,000",
        "answered 900",
        "failed 100",
        "250/s",
    ):
        assert part in said
