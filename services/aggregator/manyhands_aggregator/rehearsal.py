"""A job rehearsed: drawn tasks go through the plan, decided by the code that decides in the aggregator; pure.

Suites wait in one queue for whoever is free, and what is settled teaches before the next is judged, as in a job.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import msgpack
import numpy as np
from numpy.typing import NDArray

from manyhands.messages import Failure, Judgments
from manyhands.spec import PEOPLE
from manyhands_aggregator.budget import Purse, Traffic, asked_of
from manyhands_aggregator.cascade import UNSURE, Moves
from manyhands_aggregator.course import Slot
from manyhands_aggregator.decide import Decision
from manyhands_aggregator.minds import Mind
from manyhands_aggregator.opinions import glimpses, lessons, opinion
from manyhands_aggregator.plan import Plan, millionths
from manyhands_aggregator.sample import Drawn, Said, Urn
from manyhands_aggregator.suite import SuiteState
from manyhands_aggregator.valued import columns

#: Seconds of a judgment of which nothing is known: only the order of events rests on it.
BRIEF = 1e-6


@dataclass(slots=True)
class Rehearsed:
    """What became of n tasks.

    ``judgments``, ``cost`` (millionths), ``confidence`` (NaN: no answer), ``right`` (1 or 0, NaN: no known truth) and
    ``stage`` (that ended with it; -1: no answer) have the shape (n,). ``given`` counts judgments by stage and judge,
    ``seconds`` is when the last of them was judged,
    ``short`` the tasks for which the budget did not allow all that the plan asks.
    """

    judgments: NDArray[np.int64]
    cost: NDArray[np.int64]
    confidence: NDArray[np.float64]
    right: NDArray[np.float64]
    stage: NDArray[np.int64]
    given: Counter[tuple[int, str]] = field(default_factory=Counter)
    came: Counter[int] = field(default_factory=Counter)
    messages: int = 0
    seconds: float = 0.0
    short: bool = False


class _Piece(NamedTuple):
    """Tasks of a suite that a slot is asked for."""

    state: SuiteState
    slot: Slot
    positions: Sequence[int]


class Rehearsal:
    """One job of drawn tasks."""

    def __init__(self, plan: Plan, urn: Urn, tasks: Sequence[Drawn], budget: int | None) -> None:
        self._plan, self._urn, self._tasks = plan, urn, tasks
        self._mind = Mind.of(plan)
        self._settled: dict[int, tuple[SuiteState, Decision]] = {}
        # the first stage of all of it is kept back from the start
        self._purse = Purse(replace(plan, budget=budget), len(tasks))
        self._people: Counter[int] = Counter()  # by position: people asked so far
        n = len(tasks)
        self.found = Rehearsed(
            judgments=np.zeros(n, np.int64), cost=np.zeros(n, np.int64), confidence=np.full(n, np.nan),
            right=np.full(n, np.nan), stage=np.full(n, -1),
        )  # fmt: skip

    def run(self, capacity: int, in_flight: int, people: int = 0) -> Rehearsed:
        """Judge and decide all of it, of ``in_flight`` suites at once: each piece goes to whoever is free first.

        ``capacity`` processes work at a piece each, and ``people`` at a task each; where there are none, what they are
        asked goes to the processes.
        """
        size, n = self._plan.spec.suite, len(self._tasks)
        firsts = deque(range(0, n, size))
        processes, persons = [0.0] * capacity, [0.0] * people  # when each is free
        busy: list[tuple[float, int, _Piece]] = []
        now, started = 0.0, 0
        pieces: list[_Piece] = []
        for _ in range(min(in_flight, len(firsts))):
            pieces += self._open(firsts.popleft(), size)
        while pieces or busy:
            for piece in pieces:
                each = self._urn.sample.seconds.get(piece.slot[1]) or BRIEF
                if persons and piece.slot[1] == PEOPLE:
                    until = max(_taken(persons, now, each) for _ in piece.positions)
                else:
                    until = _taken(processes, now, each * len(piece.positions))
                heapq.heappush(busy, (until, started, piece))
                started += 1
            now, _, piece = heapq.heappop(busy)
            pieces, settled = self._judged(piece)
            if settled and firsts:
                pieces += self._open(firsts.popleft(), size)
        self.found.messages, self.found.seconds = started, now
        self._conclude()
        return self.found

    def _open(self, first: int, size: int) -> list[_Piece]:
        positions = range(first, min(first + size, len(self._tasks)))
        truths = [self._tasks[p].gold if self._plan.spec.gold is not None else None for p in positions]
        gold = msgpack.packb(truths) if any(truth is not None for truth in truths) else None
        state = SuiteState(first // size, first, len(positions), len(positions), truths=gold)
        self.found.came[0] += len(positions)
        return [_Piece(state, slot, positions) for slot in self._plan.slots]

    def _judged(self, piece: _Piece) -> tuple[list[_Piece], bool]:
        """What is asked next when a piece is judged, and whether its suite is settled."""
        state, plan = piece.state, self._plan
        said = {position: self._ask(position, piece.slot) for position in piece.positions}
        messages = state.said.setdefault(piece.slot, [])
        for worker in dict.fromkeys(one.worker for one in said.values()):
            message = _message(state.suite, piece.slot, {p: one for p, one in said.items() if one.worker == worker})
            messages.append(message)
            traffic = Traffic(said=Counter({(message.stage, message.judge): len(message.positions)}))
            plan.note_costs(message, traffic)
            self._purse = self._purse.after(plan.dearer(message), traffic)
        moves, decision = Moves(), state.decide(plan) if not plan.cascades else None
        if plan.cascades:
            moves, decision = self._proceed(state)
        if decision is not None:
            self._settled[state.suite] = state, decision
        return [_Piece(state, slot, positions) for (slot, _), positions in moves.asked.items()], decision is not None

    def _ask(self, position: int, slot: Slot) -> Said:
        stage, judge, number = slot
        if judge == PEOPLE:
            number, self._people[position] = self._people[position], self._people[position] + 1
        said = self._tasks[position].said(judge, number)
        price = self._plan.steps[stage].prices[judge]
        self.found.judgments[position] += 1
        self.found.cost[position] += price if said.cost is None else millionths(said.cost)
        self.found.given[stage, judge] += 1
        return said

    def _proceed(self, state: SuiteState) -> tuple[Moves, Decision | None]:
        mind, plan = self._mind, self._plan
        thought = opinion(plan, mind.beliefs, mind.studied)
        moves, decision = state.proceed(plan, thought, self._purse.left(), dearer=self._purse.prices())
        taught = glimpses(plan, state) if decision is None else lessons(plan, state, decision)
        mind.learn(state.suite, taught, settled=decision is not None)
        asked = asked_of((slot, len(positions)) for (slot, _), positions in moves.asked.items())
        self._purse = self._purse.after(moves.spent, Traffic(asked))
        self.found.short |= moves.short
        passed = [(slot[0], positions) for (slot, reason), positions in moves.asked.items() if reason == UNSURE]
        reached = {(stage, position) for stage, positions in passed for position in positions}
        self.found.came.update(stage for stage, _ in reached)
        return moves, decision

    def _conclude(self) -> None:
        """Go over the whole job at its end if its method does so, and see what its answers are."""
        found = None
        if self._plan.fits:
            votes = columns(self._plan)
            for _, (state, _) in sorted(self._settled.items()):
                votes.add(state)
            found = votes.found() if votes.positions else None
        for state, decision in self._settled.values():
            self._count(state, decision if found is None else found.applied(self._plan, state.first, decision))

    def _count(self, state: SuiteState, decision: Decision) -> None:
        for index, value in enumerate(decision.values):
            position = state.first + index
            truth, failed = self._tasks[position].measured, index in decision.errors
            if not failed:
                self.found.stage[position] = (decision.stages[index] or 0) if decision.stages is not None else 0
                self.found.confidence[position] = decision.confidences[index] or 0.0
            if truth is not None:
                self.found.right[position] = not failed and self._urn.same(value, truth)


def _taken(free: list[float], now: float, seconds: float) -> float:
    """Give so much work to whoever is ``free`` first, by the times in that heap; when it is done."""
    until = max(now, free[0]) + seconds
    heapq.heapreplace(free, until)
    return until


def _message(suite: int, slot: Slot, said: dict[int, Said]) -> Judgments:
    stage, judge, number = slot
    failures: dict[int, Failure] = {p: one.failure for p, one in said.items() if one.failure is not None}
    return Judgments(
        job="", suite=suite, stage=stage, judge=judge, slot=number, worker=next(iter(said.values())).worker,
        positions=list(said), values=[one.value for one in said.values()],
        confidences=[one.confidence for one in said.values()], errors=failures,
        costs=[one.cost for one in said.values()],
    )  # fmt: skip
