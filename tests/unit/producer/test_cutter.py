"""Cutting rows into suites."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from manyhands.codec import encode
from manyhands.messages import Suite
from manyhands_producer.cutter import CLOSE_AT, Limits, cut
from manyhands_producer.sources import Refusal, Rows
from manyhands_producer.spool import Cut, Spooled, row

LIMITS = Limits(1 << 20)


def spooled(cuts: list[Cut]) -> list[Spooled]:
    """Suites as they come out of the spool."""
    return [row(c.suite, c.first, c.count, c.size, c.opened, c.body) for c in cuts]


def payloads(suites: list[Spooled]) -> dict[int, Any]:
    """The payload of every position that judges are sent."""
    return {p: load for s in suites for p, load in zip(s.positions, s.payloads, strict=True)}


def test_suites_are_runs_of_positions() -> None:
    """Rows are cut into suites of the wanted size, numbered and positioned behind what there was."""
    rows = Rows(payloads=list("abcde"), ids=list("vwxyz"), truths=[1, None, None, None, 2])
    cuts = cut(rows, suite=7, first=100, tasks=2, limits=LIMITS)
    assert [(c.suite, c.first, c.count, c.refused) for c in cuts] == [(7, 100, 2, 0), (8, 102, 2, 0), (9, 104, 1, 0)]
    suites = spooled(cuts)
    assert payloads(suites) == dict(zip(range(100, 105), "abcde", strict=True))
    assert [s.ids for s in suites] == [["v", "w"], ["x", "y"], ["z"]]
    assert [s.truths for s in suites] == [[1, None], None, [2]]


def test_refused_rows_keep_their_positions() -> None:
    """A refused row is not sent to judges; its position, id and reason are kept, and a missing id is its position."""
    rows = Rows(payloads=["a", None, "c"], ids=["x", None, "z"], refused={1: Refusal("bad-row", "why")})
    (suite,) = spooled(cut(rows, suite=0, first=10, tasks=5, limits=LIMITS))
    assert (suite.positions, suite.payloads) == ([10, 12], ["a", "c"])
    assert suite.ids == ["x", "11", "z"]
    assert suite.refused == {11: {"code": "bad-row", "message": "why"}}


def test_a_payload_over_the_limit_fails_alone() -> None:
    """What does not fit into a message is refused; the rest of the suite goes on."""
    rows = Rows(payloads=["a", "x" * (1 << 20), "c"])
    suites = spooled(cut(rows, suite=0, first=0, tasks=3, limits=LIMITS))
    assert payloads(suites) == {0: "a", 2: "c"}
    assert suites[0].refused[1]["code"] == "too-large"


def test_what_cannot_travel_is_bad() -> None:
    """Values that MessagePack has not are bad rows, named like any other."""
    deep: Any = []
    for _ in range(2000):
        deep = [deep]
    rows = Rows(payloads=[1 << 70, deep, object(), "ok"], where="row {}".format)
    (suite,) = spooled(cut(rows, suite=0, first=0, tasks=4, limits=LIMITS))
    assert payloads([suite]) == {3: "ok"}
    assert suite.refused[0] == {"code": "bad-row", "message": "row 0: a whole number has more than 64 bits"}
    assert {r.code for r in rows.refused.values()} == {"bad-row"}


def test_suites_are_closed_when_they_are_large() -> None:
    """A suite is closed near the limit of bytes, also where ids and truths are what is large."""
    for rows in (
        Rows(payloads=["x" * 50_000] * 20),
        Rows(payloads=["x"] * 5000, ids=[f"{i:0400}" for i in range(5000)]),
        Rows(payloads=["x"] * 500, truths=["y" * 5000] * 500),
    ):
        cuts = cut(rows, suite=0, first=0, tasks=10_000, limits=LIMITS)
        assert len(cuts) > 1
        assert [c.suite for c in cuts] == list(range(len(cuts)))
        assert sum(c.count for c in cuts) == len(rows.payloads)
        assert all(c.size <= 2 * CLOSE_AT for c in cuts)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.binary(max_size=1500), max_size=200), st.integers(1, 200), st.sampled_from([1024, 2048, 8192, 1 << 20])
)
def test_every_suite_fits_into_its_message(items: list[bytes], tasks: int, limit: int) -> None:
    """Whatever the limit, no suite that was cut is too large to be sent, and no task is lost or moved."""
    limits = Limits(limit)
    cuts = cut(Rows(payloads=items), suite=0, first=1 << 33, tasks=tasks, limits=limits)
    found: dict[int, Any] = {}
    for suite in spooled(cuts):
        found |= payloads([suite]) | dict.fromkeys(suite.refused)
        if suite.payloads:
            message = Suite(
                job="j" * 109, suite=suite.suite, stage=0, judge="j" * 64, slot=9, spec="d" * 16, expires_at=1e9,
                positions=suite.positions, payloads=suite.payloads,
            )  # fmt: skip
            encode(message, limit=limit)
    assert list(found) == [(1 << 33) + i for i in range(len(items))]
    assert all(load in (None, item) for load, item in zip(found.values(), items, strict=True))
