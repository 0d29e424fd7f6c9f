"""docs/cost-model.md, recomputed from its own tables."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyhands_aggregator.cost import Part, cost, makespan, makespan_at_most, passing

PAGE = Path(__file__).parents[2] / "docs" / "cost-model.md"


def tables() -> dict[str, list[list[str]]]:
    """The tables of the page, by the first word of their heads."""
    found: dict[str, list[list[str]]] = {}
    rows: list[list[str]] = []
    for line in [*PAGE.read_text(encoding="utf-8").splitlines(), ""]:
        if line.startswith("|"):
            rows.append([cell.strip() for cell in line.strip("|").split("|")])
        elif rows:
            found[rows[0][0]] = rows[2:]
            rows = []
    return found


def number(cell: str) -> float:
    """A cell as the page writes numbers; shares are in per cent."""
    return float(cell.replace(",", "").removesuffix("%")) / (100 if cell.endswith("%") else 1)


def plain(value: float, places: int) -> str:
    """As the page writes it."""
    return f"{value:,.{places}f}"


def test_cost() -> None:
    """Judgments, their price and the machine's hours of every judge; then the sums."""
    parts = []
    for _, tasks, judgments, price, seconds, given_, paid, hours in tables()["judge"]:
        part = Part(tasks=number(tasks), judgments=number(judgments), price=number(price), seconds=number(seconds))
        assert [plain(part.given, 0), plain(part.given * part.price, 2), plain(part.work / 3600, 2)] == [
            given_,
            paid,
            hours,
        ]
        parts.append(part)
    found = cost(parts, hour=1.20, fixed=25)
    assert "An hour of the machine costs 1.20, setting up 25." in PAGE.read_text(encoding="utf-8")
    assert {row[0]: row[1] for row in tables()["kind"]} == {
        "judgments": plain(found.judgments, 2),
        "machines": plain(found.machines, 2),
        "fixed": plain(found.fixed, 2),
        "total": plain(found.total, 2),
    }
    everything = cost([Part(tasks=10_000, judgments=2, price=0.05)], fixed=25).total
    assert f"10,000 × 2 × 0.05 + 25 = {plain(everything, 2)}." in PAGE.read_text(encoding="utf-8")


def test_what_comes_to_a_stage() -> None:
    """As many as the stage before did not accept; the same as the judges' tasks."""
    stages = tables()["stage"]
    found = passing(10_000, [number(accepts) for _, _, accepts in stages])
    assert [plain(tasks, 0) for tasks in found] == [comes for _, comes, _ in stages]
    assert [comes for _, comes, _ in stages] == [row[1] for row in tables()["judge"]]


def test_makespan() -> None:
    """At least the longest piece and the shared work; at most what pulling from a queue can take."""
    for pieces, each, capacity, work, least, most in tables()["pieces"]:
        longest, total, hands = number(each), number(pieces) * number(each), int(number(capacity))
        assert [plain(total, 0), plain(makespan(longest, total, hands), 1)] == [work, least]
        assert plain(makespan_at_most(longest, total, hands), 1) == most


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=40), st.integers(1, 12))
def test_pulling_keeps_the_bounds(pieces: list[float], capacity: int) -> None:
    """Whatever the pieces and their order: who is free takes the next."""
    free = [0.0] * capacity
    for piece in pieces:
        free.sort()
        free[0] += piece
    longest, work = max(pieces), sum(pieces)
    assert makespan(longest, work, capacity) <= max(free) * (1 + 1e-9)
    assert max(free) <= makespan_at_most(longest, work, capacity) * (1 + 1e-9)
    assert makespan_at_most(longest, work, capacity) < 2 * makespan(longest, work, capacity) * (1 + 1e-9)


def test_somebody_must_work() -> None:
    """Without capacity a job has no end."""
    for bound in (makespan, makespan_at_most):
        with pytest.raises(ValueError, match="capacity is above 0"):
            bound(1, 1, 0)
