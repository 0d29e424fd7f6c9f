"""The search for the tasks that kill, and what a suite causes that comes again."""

import math
from collections.abc import Sequence
from dataclasses import astuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyhands.topology import DELIVERY_LIMIT
from manyhands_worker.findings import Problem
from manyhands_worker.frames import Part
from manyhands_worker.isolate import HAND_BACKS, SUSPECT_FROM, WORKERS, Death, Receipt, receipt, search

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


def test_deaths_by_chance_are_forgiven() -> None:
    """A task that kills alone only twice is judged."""
    deaths = iter([DIED, DIED])

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
    raised = Problem(code="error", message="ValueError: x", retry=5.0)

    def judge(part: Sequence[int]) -> Part | Death:
        if 1 in part:
            return DIED
        return Part([None] * len(part), None, {0: list(astuple(raised))}, 0.0)

    findings, _ = search(2, judge, batch=False)
    assert findings.problems[0] == raised
    assert findings.problems[1].code == "child-died"


@given(st.integers(1, 64), st.sets(st.integers(0, 63), max_size=1))
def test_few_deaths_for_each_killer(count: int, killers: set[int]) -> None:
    """By halves no more than twice the logarithm and a few; one by one only those who die alone."""
    killers = {k for k in killers if k < count}
    for batch in (True, False):
        deaths = 0

        def judge(part: Sequence[int]) -> Part | Death:
            nonlocal deaths
            if killers.intersection(part):
                deaths += 1
                return DIED
            return Part([0] * len(part), None, {}, 0.0)

        search(count, judge, batch=batch)
        assert deaths <= len(killers) * (math.log2(count) + 3)


def test_a_killer_has_its_own_history() -> None:
    """Each death that it took part in, and no other; the signal and the memory of the last."""

    def judge(part: Sequence[int]) -> Part | Death:
        if 2 in part:
            return Death(how="the child was ended by SIGSEGV", label="SIGSEGV", exit="SIGSEGV", peak_mib=77)
        return Part([0] * len(part), None, {}, 0.0) if 0 not in part else DIED

    findings, killers = search(4, judge, batch=True, first=DIED, tell=lambda death, tasks: f"{death.label} {tasks}")
    assert killers == [0, 2]
    assert findings.problems[2].history == ("exit 4", "SIGSEGV 2", "SIGSEGV 1", "SIGSEGV 1", "SIGSEGV 1")
    assert findings.problems[0].history == ("exit 4", "exit 2", "exit 1", "exit 1", "exit 1")
    assert (findings.problems[2].exit, findings.problems[2].memory_mib) == ("SIGSEGV", 77)


@pytest.mark.parametrize(
    ("tasks", "deaths", "alone", "done"),
    [
        (100, 0, 0, Receipt.TRY),
        (100, 1, 0, Receipt.SPLIT),
        (2, 1, 0, Receipt.SPLIT),
        (1, 0, 0, Receipt.TRY),
        (1, 1, 0, Receipt.NOTE),
        (1, 1, 1, Receipt.NOTE),
        (1, 0, 2, Receipt.TRY),
        (1, 1, 2, Receipt.SET_ASIDE),
        (1, 3, 0, Receipt.SET_ASIDE),
        (1, 0, 9, Receipt.TRY),
    ],
)
def test_receipt(tasks: int, deaths: int, alone: int, done: Receipt) -> None:
    """Cut while there is more than one; a single task is set aside after its third death, and never without one."""
    assert receipt(tasks, deaths, alone, counts_hand_backs=False) is done


@pytest.mark.parametrize(
    ("tasks", "deaths", "alone", "done"),
    [
        (100, 1, 0, Receipt.SPLIT),
        (1, 1, 2, Receipt.NOTE),
        (1, 1, 4, Receipt.NOTE),
        (1, 1, 5, Receipt.SET_ASIDE),
    ],
)
def test_receipt_where_hand_backs_count(tasks: int, deaths: int, alone: int, done: Receipt) -> None:
    """Before RabbitMQ 4.3 a count may be that of orderly restarts, so it takes more."""
    assert receipt(tasks, deaths, alone, counts_hand_backs=True) is done


@given(st.integers(1, 1000), st.booleans())
def test_workers_that_a_killer_costs(tasks: int, counts: bool) -> None:
    """From first to last three, one for each time it is cut, and those that convict; far from the broker's limit."""
    cost, alone = SUSPECT_FROM, 0
    while (done := receipt(tasks, 1, alone, counts_hand_backs=counts)) is not Receipt.SET_ASIDE:
        cost += 1
        if done is Receipt.SPLIT:
            tasks = math.ceil(tasks / 2)
        else:
            alone += 1
    assert SUSPECT_FROM < DELIVERY_LIMIT
    assert cost + 1 <= SUSPECT_FROM + 10 + WORKERS + HAND_BACKS
