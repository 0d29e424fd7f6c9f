"""Suites taken as far as their judgments go: settled with answers, or on their way through the plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import add, sub
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa

from manyhands import tracing
from manyhands.messages import SUITE_ESCALATED, Event, Failure
from manyhands_aggregator import tables
from manyhands_aggregator.budget import asked_of
from manyhands_aggregator.cascade import outstanding
from manyhands_aggregator.course import Slot
from manyhands_aggregator.decide import Decision
from manyhands_aggregator.judged import Escalation, Judged, Means, Said
from manyhands_aggregator.plan import Plan
from manyhands_aggregator.suite import OVERDUE, Counts, SuiteState, pack_answers, unpack_answers
from manyhands_aggregator.voices import voices

_suites = tables.suites

#: Why tasks are asked for once more of which nobody knows whether they were: a message came a second time.
ASKED_AGAIN = "asked-again"


_SETTLE = (
    sa.update(_suites)
    .where(_suites.c.job == sa.bindparam("b_job"), _suites.c.suite == sa.bindparam("b_suite"))
    .values({name: sa.bindparam(f"b_{name}") for name in ("answers", *Counts._fields)})
)
_GO_ON = (
    sa.update(_suites)
    .where(_suites.c.job == sa.bindparam("b_job"), _suites.c.suite == sa.bindparam("b_suite"))
    .values(course=sa.bindparam("b_course"))
)
_ANSWERS = sa.select(_suites.c.answers).where(
    _suites.c.job == sa.bindparam("job"), _suites.c.suite == sa.bindparam("suite")
)


def settle(
    connection: sa.Connection,
    job: str,
    plan: Plan,
    states: Iterable[SuiteState],
    result: Judged,
    *,
    over: bool,
    ended: Failure | None = None,
    means: Means | None = None,
) -> None:
    """Write the answers of those suites that can be decided, and count them.

    In a job that is ``over``, or that is ``ended`` by this, they are decided on what there is; a task that nobody
    judged has failed of ``ended``. A plan that cascades needs ``means``; there it is written, too, what was asked and
    accepted of suites under way.
    """
    states = list(states)
    result.touched += [state.suite for state in states]
    updates: list[dict[str, Any]] = []
    under_way: list[dict[str, Any]] = []
    for state in states:
        # what was decided on what there was is decided again when there is more
        now = over or ended is not None or state.settled
        otherwise = (ended or OVERDUE) if now else None
        if means is None:
            decision = state.decide(plan, otherwise=otherwise)
        else:
            decision = _proceed(connection, job, plan, state, result, means, otherwise)
            under_way.append({"b_job": job, "b_suite": state.suite, "b_course": state.course.pack()})
            _teach(plan, state, decision, result)
        if decision is None:
            continue
        counts = state.count_up(plan, decision)
        before = state.counts or Counts(failed=state.count if over else 0)
        result.change = Counts(*map(add, result.change, map(sub, counts, before)))
        result.ties += decision.ties
        if state.counts is None:
            result.decided.append(decision)
        state.counts = counts
        updates.append(
            {
                "b_job": job, "b_suite": state.suite, "b_answers": pack_answers(decision),
                **{f"b_{name}": n for name, n in zip(Counts._fields, counts, strict=True)},
            }
        )  # fmt: skip
    if updates:
        connection.execute(_SETTLE, updates)
    if under_way:
        connection.execute(_GO_ON, under_way)


def _teach(plan: Plan, state: SuiteState, decision: Decision | None, result: Judged) -> None:
    """Note what a suite teaches: once when it is settled, and anew with every message as long as it is under way."""
    if state.counts is not None:
        return
    from manyhands_aggregator.opinions import glimpses, lessons

    if decision is None:
        result.taught.under_way[state.suite] = glimpses(plan, state)
    else:
        result.taught.settled[state.suite] = lessons(plan, state, decision)


def _proceed(
    connection: sa.Connection,
    job: str,
    plan: Plan,
    state: SuiteState,
    result: Judged,
    means: Means,
    otherwise: Failure | None,
) -> Decision | None:
    if state.settled:
        there = {"job": job, "suite": state.suite}
        state.stand_by(unpack_answers(connection.execute(_ANSWERS, there).scalar_one()))
    purse = result.left(means.purse)
    moves, decision = state.proceed(plan, means.opinion, purse.left(), otherwise, means.out, purse.prices())
    result.spent += moves.spent
    result.traffic.asked.update(asked_of((slot, len(positions)) for (slot, _), positions in moves.asked.items()))
    result.short |= moves.short
    for (slot, reason), positions in moves.asked.items():
        result.escalated.append(escalation(job, state.suite, slot, positions, reason))
    if decision is not None:
        state.course.accepted.clear()  # they are in the answers from now on
    return decision


def note(connection: sa.Connection, job: str, states: Iterable[SuiteState]) -> None:
    """Write how far these suites are on their way."""
    rows = [{"b_job": job, "b_suite": state.suite, "b_course": state.course.pack()} for state in states]
    if rows:
        connection.execute(_GO_ON, rows)


def ask_again(job: str, state: SuiteState, result: Judged, said: Said | None = None) -> None:
    """Ask once more for all that was asked of a suite and not said yet, for the first time may never have gone out.

    Not for every repeat: what is asked twice is judged twice, and would be asked for twice again by that.
    """
    if state.settled:
        return
    just_now: dict[Slot, set[int]] = {}
    for data in (escalated.event.data for escalated in result.escalated):
        if data["suite"] == state.suite:
            just_now.setdefault((data["stage"], data["judge"], data["slot"]), set()).update(data["positions"])
    for slot, positions in outstanding(state.course, voices(state.said)).items():
        if left := [position for position in positions if position not in just_now.get(slot, ())]:
            headers = tracing.caused_by(said.delivery) if said is not None and said.delivery is not None else {}
            result.escalated.append(escalation(job, state.suite, slot, left, ASKED_AGAIN, headers=headers))


def escalation(
    job: str,
    suite: int,
    slot: Slot,
    positions: Sequence[int],
    reason: str,
    *,
    attempt: int = 1,
    headers: Mapping[str, str] = MappingProxyType({}),
) -> Escalation:
    """The event that asks a slot for some tasks of a suite."""
    stage, judge, number = slot
    data = {
        "suite": suite, "stage": stage, "judge": judge, "slot": number,
        "positions": list(positions), "attempt": attempt, "reason": reason,
    }  # fmt: skip
    return Escalation(Event(name=SUITE_ESCALATED, job=job, data=data), headers)
