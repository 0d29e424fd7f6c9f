"""The conservation law over the accounts of both services."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyhands_cli import remote
from manyhands_cli.balance import UNHEARD, balance

counts = st.integers(0, 1000)


def producer(tasks: int, **more: Any) -> dict[str, Any]:
    """What the producer says of a job."""
    return {"state": "sealed", "tasks": tasks, "suites": 2, "spooled": 1, "published": 2, "settled": 1, **more}


def aggregator(answered: int, failed: int, cancelled: int, left: int, state: str) -> dict[str, Any]:
    """What the aggregator says of a job that balances."""
    tasks = answered + failed + cancelled + left
    return {
        "state": state, "tasks": tasks, "answered": answered, "failed": failed, "cancelled": cancelled, "open": left,
        "difference": 0, "conserved": True, "suites": 9,
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


@given(counts, counts, counts, counts, counts, counts)
def test_every_task_stands_in_one_place(
    answered: int, failed: int, left: int, unheard: int, judged: int, unpublished: int
) -> None:
    """Whatever moved between the looks, the places add up to the tasks."""
    tasks = answered + failed + left + unheard
    said = producer(tasks, spooled_tasks=left + unheard, in_flight_tasks=max(0, left + unheard - unpublished))
    joined = balance(said, {**aggregator(answered, failed, 0, left, "open"), "judged": judged})
    assert sum(joined["stands"].values()) == tasks == joined["tasks"]
    assert min(joined["stands"].values()) >= 0
    assert (joined["stands"]["answered"], joined["stands"]["failed"]) == (answered, failed)
    assert joined["conserved"] is True


@given(counts, counts, counts, counts, counts)
def test_what_moves_between_two_looks_is_no_fault(cut: int, settled: int, heard: int, later: int, more: int) -> None:
    """The producer cuts and lets go while the aggregator is asked; asked before and after it, it tells so."""
    before = producer(cut + settled, spooled_tasks=cut)
    # the aggregator has settled some of the spool by now, and heard of what was cut meanwhile
    open_ = max(0, cut - settled) + min(heard, later)
    after = producer(cut + settled + later + more, spooled_tasks=0)
    said = balance(before, aggregator(settled + cut - max(0, cut - settled), 0, 0, open_, "open"), after)
    assert said["conserved"] is True, said


@given(counts, st.integers(1, 1000))
def test_an_open_task_that_the_producer_let_go_of_is_lost(kept: int, gone: int) -> None:
    """The aggregator waits for it, and nobody will ever send it again."""
    said = balance(producer(kept + gone, spooled_tasks=kept), aggregator(0, 0, 0, kept + gone, "open"))
    assert (said["conserved"], said["difference"]) == (False, gone)


def test_a_suite_that_the_spool_lacks_is_missing() -> None:
    """The aggregator may never have heard of it."""
    said = balance(producer(5, suites=3, spooled_tasks=5), aggregator(0, 0, 0, 4, "open"))
    assert (said["conserved"], said["missing_suites"], said["difference"]) == (False, 1, 0)


def test_a_job_that_ended_for_the_producer_alone() -> None:
    """The aggregator said so once: its store is older than what it said."""
    said = balance(producer(5, state="ended"), aggregator(2, 0, 0, 3, "open"))
    assert (said["conserved"], said["difference"]) == (False, 3)


def test_a_cancellation_on_its_way_is_no_fault() -> None:
    """The spool is gone, and the aggregator hears of it later."""
    assert balance(producer(5, state="cancelled", spooled_tasks=0), aggregator(2, 0, 0, 3, "open"))["conserved"] is True


def test_a_producer_of_an_earlier_version_tells_less() -> None:
    """What it does not tell is not checked."""
    assert balance(producer(5), aggregator(2, 0, 0, 3, "open"))["conserved"] is True


def test_where_messages_are() -> None:
    """By the queues' names, in whatever namespace; what must be somewhere and is in no queue is in hands."""
    told = {
        **aggregator(10, 0, 0, 30, "open"), "slots": 2, "unsettled": 6, "whole": 3, "held": 1, "judged": 4,
        "queues": {
            "ns.tasks.svm": 2, "ns.retry.5s": 1, "ns.suspects.svm": 1, "ns.judgments.0": 1, "ns.judgments.1": 1,
            "ns.events.producer": 5, "ns.dead.tasks": 7,
        },
    }  # fmt: skip
    said = balance(producer(40, in_flight=6, spooled_tasks=30, in_flight_tasks=30), told)
    assert said["messages"] == {
        "in_queue": 2, "suspects": 1, "retried": 1, "judged": 2, "news": 5, "set_aside": 7,
        "delivered": 6 * 2 - 3 - (2 + 1 + 1 + 2) - 1,
    }  # fmt: skip
    assert said["stands"] == {
        "unpublished": 0, "published": 26, "judged": 4, "answered": 10, "failed": 0, "cancelled": 0,
    }  # fmt: skip
    assert not {"slots", "unsettled", "whole", "held"} & set(said)
    assert balance(producer(40), {**told, "queues": None})["messages"] is None


class Looks:
    """Accounts, one for each look; the last stays."""

    def __init__(self, *conserved: bool) -> None:
        self.left = list(conserved)

    def __call__(self) -> dict[str, Any]:
        """The next."""
        return {"conserved": self.left.pop(0) if len(self.left) > 1 else self.left[0]}


def test_a_difference_that_passes_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages move between two looks: what balances at one of them balances."""
    monkeypatch.setattr(remote, "AGAIN", 0.001)
    assert remote.lasting(Looks(False, False, True, False), 60)["conserved"] is True


def test_a_difference_that_lasts_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the patience; at once where there is none."""
    monkeypatch.setattr(remote, "AGAIN", 0.001)
    assert remote.lasting(Looks(False), 0.05)["conserved"] is False
    looks = Looks(False, True)
    assert remote.lasting(looks, 0)["conserved"] is False
    assert looks.left == [True]
