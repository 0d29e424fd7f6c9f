"""Who may judge how much of a job: nobody gives more than a share of what is asked of people; with the ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import sqlalchemy as sa

from manyhands.messages import Judgments
from manyhands.spec import PEOPLE
from manyhands_aggregator import fairness, tables
from manyhands_aggregator.budget import Purse

_ledger = tables.ledger


class Shares:
    """What people have given of a job, by the ledger and since; and how much more each of them may give.

    The ledger is read before the job's account is locked; :meth:`hold` says behind it whether that was still so.
    """

    def __init__(self, connection: sa.Connection, job: str, purse: Purse, workers: Iterable[str]) -> None:
        self._job, self._workers = job, sorted(set(workers))
        self._read = dict(given(connection, job, self._workers))
        self._given = Counter(self._read)
        self._limit = limit(purse)

    @classmethod
    def of(cls, connection: sa.Connection, job: str, purse: Purse, messages: Iterable[Judgments]) -> Shares | None:
        """The shares of those who sent the messages; None where there is nothing to be shared."""
        rewards = purse.plan.spec.rewards
        if rewards is None or rewards.share is None:
            return None
        workers = [message.worker for message in messages if message.judge == PEOPLE]
        return cls(connection, job, purse, workers) if workers else None

    def room(self, message: Judgments) -> int | None:
        """How many more judgments the worker of a message may give; None: as many as there are."""
        if message.judge != PEOPLE or self._limit is None:
            return None
        return max(0, self._limit - self._given[message.worker])

    def note(self, message: Judgments) -> None:
        """Note what somebody gave."""
        if message.judge == PEOPLE:
            self._given[message.worker] += len(message.positions) - len(message.errors)

    def hold(self, connection: sa.Connection) -> bool:
        """Whether the ledger is as it was read."""
        return dict(given(connection, self._job, self._workers)) == self._read


def limit(purse: Purse) -> int | None:
    """How many judgments of a job one person may give, of those that are asked of people as far as that is known.

    None: as many as there are, also where it was not counted what is asked.
    """
    rewards = purse.plan.spec.rewards
    if rewards is None or rewards.share is None or not purse.counted:
        return None
    return fairness.most(rewards.share, asked(purse))


def asked(purse: Purse) -> int:
    """How many judgments are asked of people: of all tasks at the first stage, and of those that came to others."""
    first = sum(judge == PEOPLE for _, judge, _ in purse.plan.slots)
    later = sum(judgments for (_, judge), judgments in purse.traffic.asked.items() if judge == PEOPLE)
    return (purse.sent + purse.announced_to_come) * first + later


def given(connection: sa.Connection, job: str, workers: Iterable[str] | None = None) -> Mapping[str, int]:
    """How many judgments each person, or each of these, has given."""
    query = sa.select(_ledger.c.worker, sa.func.sum(_ledger.c.tasks)).group_by(_ledger.c.worker)
    query = query.where(_ledger.c.job == job, _ledger.c.kind == "judgment")
    if workers is not None:
        query = query.where(_ledger.c.worker.in_(list(workers)))
    return {worker: int(tasks) for worker, tasks in connection.execute(query)}
