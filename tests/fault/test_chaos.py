"""The chaos drill, a short one; ``make chaos`` runs longer ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fault.chaos.drill import Found, Plan, good, reckon, run
from tests.fault.chaos.handlers import value
from tests.fault.chaos.work import TIMES, Work, work


@pytest.mark.timeout(600)  # it starts a broker and a store of its own, and ends them often
def test_a_short_drill() -> None:
    """Everything is killed, stopped and cut for a while; every answer is right, and the killers alone have none.

    Everybody is paid for each judgment, once.
    """
    line = run(Plan(seconds=30, tasks=6000, seed=4))
    assert good(line), line
    assert line["faults"] >= 10, line
    assert line["failed"] == line["killers"] > 0, line


def test_the_plan_of_a_drill_is_its_seeds() -> None:
    """The same seed has the same killers; there are as many as are said, each with a way to kill."""
    assert work(20_000, 60, 4, seed=1) == work(20_000, 60, 4, seed=1)
    assert work(20_000, 60, 4, seed=1).killers != work(20_000, 60, 4, seed=2).killers
    assert len(work(1_000_000, 600, 4, seed=1).killers) == 50


KNOWN = Work(tasks=4, size=2, slow=1, flaky=1, killers={2: "exit"})
ROWS = [f"{n},{value(n)},1,{TIMES}" for n in range(4)]


def reckoned(*rows: str) -> Found:
    """The reckoning of an answers file."""
    return reckon(iter(["id,answer,confidence,judgments", *rows]), KNOWN)


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        (ROWS, {"answered": 4}),
        ([*ROWS[:2], "2,,,0", ROWS[3]], {"answered": 3, "failed": {2}}),
        ([*ROWS[:2], ROWS[3]], {"answered": 3, "missing": 1}),
        (ROWS[:2], {"answered": 2, "missing": 2}),
        ([*ROWS[:2], *ROWS[1:]], {"answered": 5, "counted_twice": 1}),
        ([*ROWS[:3], f"3,{value(3)},1,{TIMES + 1}"], {"answered": 4, "counted_twice": 1}),
        ([*ROWS[:3], f"3,{value(3) + 1},1,{TIMES}"], {"answered": 4, "wrong": 1}),
    ],
    ids=["all", "failed", "a gap", "too short", "twice", "judged too often", "wrong"],
)  # fmt: skip
def test_the_reckoning(rows: list[str], found: dict[str, object]) -> None:
    """The drill's own eyes: what is lost, counted twice or wrong is seen."""
    seen = reckoned(*rows)
    assert seen.judgments == sum(int(row.rsplit(",", 1)[1]) for row in rows if not row.endswith(",0"))
    seen.digest, seen.judgments = "", 0
    assert seen == Found(**found)  # type: ignore[arg-type]


def test_the_handlers_stand_alone(tmp_path: Path) -> None:
    """What the drill writes is a job that can be run."""
    assert work(400, 1, 1, seed=1).write(tmp_path).exists()
    assert {path.name for path in tmp_path.iterdir()} == {
        "rows.jsonl",
        "known.json",
        "flaky",
        "handlers.py",
        "job.yaml",
    }
