"""The conservation law over the accounts of both services."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from manyhands_cli.balance import UNHEARD, balance

counts = st.integers(0, 1000)


def producer(tasks: int) -> dict[str, Any]:
    """What the producer says of a job."""
    return {"tasks": tasks, "spooled": 1, "published": 2, "settled": 1}


def aggregator(answered: int, failed: int, cancelled: int, left: int, state: str) -> dict[str, Any]:
    """What the aggregator says of a job that balances."""
    tasks = answered + failed + cancelled + left
    return {
        "state": state, "tasks": tasks, "answered": answered, "failed": failed, "cancelled": cancelled, "open": left,
        "difference": 0, "conserved": True,
    }  # fmt: skip


@given(counts, counts, counts, counts)
def test_an_open_job_balances_with_what_is_on_its_way(answered: int, failed: int, left: int, unheard: int) -> None:
    """Tasks that the aggregator has not heard of count as open, so that the sum is always the producer's tasks."""
    known = answered + failed + left
    said = balance(producer(known + unheard), aggregator(answered, failed, 0, left, "open"))
    assert said["conserved"] is True
    assert said["unannounced"] == unheard
    assert said["tasks"] == said["answered"] + said["failed"] + said["cancelled"] + said["open"] == known + unheard


@given(counts, counts, counts, st.integers(1, 1000), st.sampled_from(["complete", "partial", "cancelled"]))
def test_an_ended_job_must_know_every_task(answered: int, failed: int, cancelled: int, lost: int, state: str) -> None:
    """Once a job has ended, every task that the producer cut and the aggregator does not know is a difference."""
    known = answered + failed + cancelled
    fine = balance(producer(known), aggregator(answered, failed, cancelled, 0, state))
    assert (fine["conserved"], fine["difference"]) == (True, 0)
    short = balance(producer(known + lost), aggregator(answered, failed, cancelled, 0, state))
    assert (short["conserved"], short["difference"], short["tasks"]) == (False, lost, known + lost)


def test_more_tasks_than_were_cut_never_balance() -> None:
    """An aggregator that knows of tasks which the producer does not, counts something twice."""
    assert balance(producer(5), aggregator(6, 0, 0, 0, "open"))["conserved"] is False
    assert balance(producer(5), aggregator(6, 0, 0, 0, "complete"))["conserved"] is False


def test_the_aggregators_own_difference_stays() -> None:
    """What does not balance in the aggregator's rows does not balance in the joint account."""
    said = {**aggregator(3, 0, 0, 0, "complete"), "difference": 1, "conserved": False}
    assert balance(producer(3), said)["conserved"] is False


def test_a_job_that_the_aggregator_has_not_heard_of() -> None:
    """All its tasks are on their way."""
    said = balance(producer(7), {"job": "j", **UNHEARD})
    assert (said["conserved"], said["open"], said["tasks"]) == (True, 7, 7)


def test_without_a_producer_the_aggregators_account_stands() -> None:
    """Nothing is added to it."""
    said = aggregator(1, 0, 0, 0, "complete")
    assert balance(None, said) == said
