"""What is to hold of a job at every moment, recomputed from the rows of the store."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import sqlalchemy as sa

from manyhands.spec import PEOPLE
from manyhands_aggregator import jobs, tables
from manyhands_aggregator.judging import load
from manyhands_aggregator.opinions import believed_then
from manyhands_aggregator.plan import Plan, millionths
from manyhands_aggregator.suite import SuiteState, unpack_answers
from manyhands_aggregator.voices import voices
from manyhands_service.store import Store
from tests.unit.aggregator.kit import Bench, Job


class Laws:
    """The laws of one job; ``dear``: whether judges say what they cost, which may be more than their price."""

    def __init__(self, store: Store, job: Job, plan: Plan, *, dear: bool) -> None:
        self.store, self.job, self.plan, self.dear = store, job, plan, dear

    @property
    def known(self) -> bool:
        """Whether the aggregator has heard of the job."""
        return bool(self.store.read(lambda c: jobs.states(c, [self.job.id])))

    def hold(self, bench: Bench) -> None:
        """The law of conservation, the ledger, the budget and the answers."""
        if not self.known:
            return
        tasks, answered, failed, cancelled, left = bench.counts(self.job)
        assert tasks == answered + failed + cancelled + left
        rows, spec, spent, sent = self.store.read(self._read)
        if spec is None:
            return
        states = self.store.read(lambda c: load(c, self.job.id, [row.suite for row in rows]))
        for row in rows:
            if row.answers is not None and row.suite in states:
                self.stands(states[row.suite], row.answers)
        due = sum(map(self.price, states.values()))
        counted = (
            self.plan.spec.rewards is None or self.plan.spec.rewards.share is None
        )  # what is beyond a share costs nothing
        if counted and not self.dear and bench.state(self.job) != "cancelled":
            assert self.plan.cost(sent, spent) == due
        if self.plan.budget is not None and not self.dear:
            assert self.plan.cost(sent, spent) <= self.plan.budget
        self.earned()

    def _read(self, c: sa.Connection) -> tuple[Any, ...]:
        columns = [tables.suites.c[name] for name in ("suite", "answers")]
        rows = c.execute(sa.select(*columns).where(tables.suites.c.job == self.job.id)).all()
        row = c.execute(sa.select(tables.jobs).where(tables.jobs.c.job == self.job.id)).one()
        return rows, row.spec, row.spent, row.sent

    def price(self, state: SuiteState) -> int:
        """What a suite has cost by all that was asked of it."""
        asked = dict.fromkeys(self.plan.slots, state.sent)
        asked |= {slot: len(positions) for slot, positions in state.course.asked.items()}
        total = sum(self.plan.steps[slot[0]].prices[slot[1]] * tasks for slot, tasks in asked.items())
        for (slot, _), positions in state.course.void.items():
            total += self.plan.steps[slot[0]].prices[slot[1]] * len(positions)
        return total

    def stands(self, state: SuiteState, packed: bytes) -> None:
        """Each answer is what its votes come to, as they were believed when it was accepted."""
        decision = unpack_answers(packed)
        of = voices(state.said)
        for index, value in enumerate(decision.values):
            basis = decision.bases[index] if decision.bases else None
            if index in decision.errors or basis is None:
                continue
            votes = [of[state.first + index][slot] for slot in basis.slots]
            assert len(votes) == decision.counts[index]
            people = [vote.voter for vote in votes if vote.voter.startswith(PEOPLE)]
            assert len(set(people)) == len(people)
            if basis.rights is not None and not self.plan.fits:
                answer, confidence = believed_then(self.plan, votes, basis.rights)
                assert answer == value
                assert confidence == pytest.approx(decision.confidences[index])

    def earned(self) -> None:
        """Nobody is paid twice for a task, nor beyond the caps."""
        rewards = self.plan.spec.rewards
        if rewards is None:
            return
        rows = self.store.read(lambda c: c.execute(sa.select(tables.ledger)).all())
        tasks = Counter[str]()
        amounts = Counter[str]()
        for row in rows:
            amounts[row.worker] += row.amount
            tasks[row.worker] += row.tasks if row.kind == "judgment" else 0
        assert all(number <= self.job.count for number in tasks.values())
        if rewards.per_person is not None:
            assert all(amount <= millionths(rewards.per_person) for amount in amounts.values())
        if rewards.per_job is not None and not self.dear:
            assert amounts.total() <= millionths(rewards.per_job)
