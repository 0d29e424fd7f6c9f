"""The search for the tasks that kill, and what a suite causes that comes again."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyhands.topology import DELIVERY_LIMIT
from manyhands_worker.frames import Part
from manyhands_worker.isolate import Death, Receipt, receipt, search, suspicion

DIED = Death(how="the child exited with status 3", label="exit")
LATE = Death(how="the child was killed", label="time-limit-hard", hard=True)


@given(st.integers(1, 40), st.sets(st.integers(0, 39)), st.booleans())
def test_exactly_the_killers_are_found(count: int, killers: set[int], batch: bool) -> None:
    """However many of however many, one by one or by halves: the others keep their values."""
    killers = {k for k in killers if k < count}

    def judge(part: Sequence[int]) -> Part | Death:
        return DIED if killers.intersection(part) else Part([i * 2 for i in part], [0.5] * len(part), {}, 0.0)

    findings, found = search(count, judge, batch=batch)
    assert sorted(found) == sorted(killers) == sorted(findings.problems)
    assert all(findings.values[i] == i * 2 for i in range(count) if i not in killers)


def test_a_death_by_chance_is_forgiven() -> None:
    """A task that kills alone only once is judged."""
    deaths = iter([DIED])

    def judge(part: Sequence[int]) -> Part | Death:
        return next(deaths, Part(["a"] * len(part), None, {}, 0.0))

    findings, killers = search(1, judge, batch=False)
    assert (findings.values, killers) == (["a"], [])


def test_too_long_alone_is_not_tried_again() -> None:
    """The hard limit is waited for once."""
    asked = []

    def judge(part: Sequence[int]) -> Part | Death:
        asked.append(list(part))
        return LATE

    findings, killers = search(1, judge, batch=True)
    assert (asked, killers) == ([[0]], [0])
    assert findings.problems[0].code == "time-limit-hard"


def test_problems_of_parts_are_kept() -> None:
    """A task that only raised, in a part that lived, keeps its own problem."""

    def judge(part: Sequence[int]) -> Part | Death:
        if 1 in part:
            return DIED
        return Part([None] * len(part), None, {0: ["error", "ValueError: x", "", 5.0, True, True]}, 0.0)

    findings, _ = search(2, judge, batch=False)
    assert (findings.problems[0].code, findings.problems[0].retry) == ("error", 5.0)
    assert findings.problems[1].code == "child-died"


@pytest.mark.parametrize(
    ("tasks", "count", "carried", "done"),
    [
        (100, 0, 0, Receipt.JUDGE),
        (100, 1, 0, Receipt.JUDGE),
        (100, 2, 0, Receipt.SPLIT),
        (50, 0, 2, Receipt.JUDGE),
        (50, 1, 2, Receipt.SPLIT),
        (1, 0, 9, Receipt.JUDGE),
        (1, 1, 9, Receipt.JUDGE),
        (1, 2, 0, Receipt.JUDGE),
        (1, 2, 3, Receipt.SET_ASIDE),
        (1, 5, 0, Receipt.SET_ASIDE),
    ],
)
def test_receipt(tasks: int, count: int, carried: int, done: Receipt) -> None:
    """Cut while there is more than one; a single task is set aside only after it was tried alone."""
    assert receipt(tasks, count, carried, suspicion(5, counts_hand_backs=False)) is done


@pytest.mark.parametrize(
    ("tasks", "count", "carried", "done"),
    [
        (100, 2, 0, Receipt.JUDGE),
        (100, 7, 0, Receipt.JUDGE),
        (100, 8, 0, Receipt.SPLIT),
        (50, 1, 8, Receipt.JUDGE),
        (50, 2, 8, Receipt.SPLIT),
        (1, 5, 0, Receipt.JUDGE),
        (1, 14, 0, Receipt.JUDGE),
        (1, 15, 0, Receipt.SET_ASIDE),
        (1, 7, 20, Receipt.JUDGE),
        (1, 8, 8, Receipt.SET_ASIDE),
    ],
)
def test_receipt_where_hand_backs_count(tasks: int, count: int, carried: int, done: Receipt) -> None:
    """Before RabbitMQ 4.3 a count may be that of orderly restarts, so it takes many more."""
    assert receipt(tasks, count, carried, suspicion(5, counts_hand_backs=True)) is done


@given(st.integers(2, 30), st.booleans())
def test_the_worker_suspects_before_the_broker_does(most: int, counts: bool) -> None:
    """A suite is cut before the broker's own limit of deliveries; a larger setting is kept in either case."""
    least = suspicion(most, counts_hand_backs=counts)
    assert least.part <= least.first < DELIVERY_LIMIT
    assert least.convict >= most
