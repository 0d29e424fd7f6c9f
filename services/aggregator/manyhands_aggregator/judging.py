"""Judgments into the store, and suites settled by them; everything inside the transaction of one batch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from manyhands import tracing
from manyhands.codec import JUDGMENTS, decode, encode
from manyhands.messages import Failure, Judgments
from manyhands_aggregator import tables
from manyhands_aggregator.budget import Purse
from manyhands_aggregator.course import Course
from manyhands_aggregator.judged import Aside, Judged, Means, Said
from manyhands_aggregator.plan import Plan
from manyhands_aggregator.settling import ask_again, escalation, note, settle
from manyhands_aggregator.shares import Shares
from manyhands_aggregator.suite import (
    STRANGER,
    UNDECODABLE,
    Counts,
    Stranger,
    SuiteState,
    Taken,
    unpack_failures,
)

_suites, _judgments = tables.suites, tables.judgments

#: For the bodies we keep: one that was under the limit of the wire may grow when its values are put in normal form.
OWN_LIMIT = 1 << 27


def judge(
    connection: sa.Connection,
    job: str,
    plan: Plan,
    messages: Sequence[Said],
    purse: Purse,
    *,
    over: bool,
    ended: Failure | None = None,
    means: Means | None = None,
    shares: Shares | None = None,
) -> Judged:
    """Take in a job's judgments and settle the suites that are complete; ``means`` are for a plan that cascades.

    ``purse`` is what may still be spent, ``shares`` how much more each person may give.

    In a job that is ``over``, of which what is open counts as failed, suites are settled with what there is; what
    nobody judged has failed of ``ended``.
    """
    result = Judged()
    states = load(connection, job, {said.message.suite for said in messages})
    rows: list[dict[str, Any]] = []
    repeated: dict[int, Said] = {}
    void: dict[int, SuiteState] = {}
    for said in messages:
        message = said.message
        state = states.get(message.suite)
        if state is None:
            result.unknown.append(said)
            continue
        before = tuple(state.said.get((message.stage, message.judge, message.slot), ()))
        parts = len(before)
        if (
            means is not None
            and (said.seen or (message.stage, message.judge, message.slot) == plan.herald)
            and any(not set(one.positions).isdisjoint(message.positions) for one in before)
        ):
            repeated[message.suite] = said  # in part, too: the rest of it may be news
        try:
            left = result.left(purse)
            room = shares.room(message) if shares is not None else None
            taken = state.take(plan, message, said.spoiled, left.left(), dearer=left.prices(), room=room)
        except Stranger as error:
            code, why = (UNDECODABLE, said.spoiled) if said.spoiled else (STRANGER, str(error))
            result.aside.append(Aside(said, code, why, told=False))
            continue
        _report(result, job, said, taken)
        result.short |= taken.short
        if taken.void is not None:  # what was asked has been judged for nothing, and is asked anew
            result.dearer += plan.dearer(taken.void, before)
            result.spent += plan.steps[message.stage].prices[message.judge] * len(taken.void.positions)
            plan.note_costs(taken.void, result.traffic)
        if taken.noted:
            void[message.suite] = state
        if taken.new is None:
            if not taken.wrong:
                result.repeats += len(message.positions)
            continue
        result.kept += len(taken.new.positions)
        result.dearer += plan.dearer(taken.new, before)
        _came(plan, taken.new, before, result)
        if shares is not None:
            shares.note(taken.new)
        exemplar = None if said.delivery is None else tracing.exemplar(said.delivery)
        if exemplar is None:
            result.finished.append(message.finished)
        else:
            result.traced.append((message.finished, exemplar))
        rows.append(_row(said, taken.new, parts))
    if rows:
        connection.execute(_INSERT, rows)
        changed = [states[number] for number in sorted({row["suite"] for row in rows})]
        settle(connection, job, plan, changed, result, over=over, ended=ended, means=means)
    note(connection, job, void.values())
    if means is not None and not over:
        for number, said in sorted(repeated.items()):  # what it led to the first time may not have gone out
            ask_again(job, states[number], result, said)
    result.settled = sorted(
        {said.message.suite for said in messages if (s := states.get(said.message.suite)) is not None and s.settled}
    )
    return result


_INSERT = sa.insert(_judgments)
_LOAD = (
    sa.select(
        _suites.c.suite, _suites.c.first, _suites.c.count, _suites.c.sent, _suites.c.truths, _suites.c.refused,
        _suites.c.course, _suites.c.answers.is_not(None), *(_suites.c[name] for name in Counts._fields),
    )
    .where(_suites.c.job == sa.bindparam("job"), _suites.c.suite.in_(sa.bindparam("suites", expanding=True)))
    .where(_suites.c.sent > 0)  # nobody was asked of the others, and their rows are not to be locked after the job's
    .order_by(_suites.c.suite)
    .with_for_update()
)  # fmt: skip
_SAID = (
    sa.select(_judgments.c.body, _judgments.c.encoding)
    .where(_judgments.c.job == sa.bindparam("job"), _judgments.c.suite.in_(sa.bindparam("suites", expanding=True)))
    .order_by(_judgments.c.suite, _judgments.c.stage, _judgments.c.judge, _judgments.c.slot, _judgments.c.part)
)


def load(connection: sa.Connection, job: str, numbers: Iterable[int]) -> dict[int, SuiteState]:
    """Suites with all that was said of them, locked until the transaction ends; at most some hundreds at once."""
    states: dict[int, SuiteState] = {}
    for row in connection.execute(_LOAD, {"job": job, "suites": sorted(set(numbers))}):
        suite, first, count, sent, truths, refused, course, settled, *counts = row
        counted = Counts(*counts) if settled else None
        states[suite] = SuiteState(suite, first, count, sent, truths, unpack_failures(refused), counted)
        if course is not None:
            states[suite].course = Course.unpack(course)
    for message in said_of(connection, job, list(states)):
        slot = (message.stage, message.judge, message.slot)
        states[message.suite].said.setdefault(slot, []).append(message)
    return states


def said_of(connection: sa.Connection, job: str, numbers: Sequence[int]) -> Iterable[Judgments]:
    """Every kept part of these suites, each slot's in the order in which they came."""
    if not numbers:
        return
    for body, encoding in connection.execute(_SAID, {"job": job, "suites": numbers}):
        message = decode(body, JUDGMENTS, encoding, limit=OWN_LIMIT, kept=True)
        if isinstance(message, Judgments):
            yield message


def _came(plan: Plan, new: Judgments, before: Sequence[Judgments], result: Judged) -> None:
    """Note how many of the judgments that were asked for have come, and what they cost."""
    if plan.budget is None:
        return
    heard = {p for one in before for p in one.positions}
    result.traffic.said[new.stage, new.judge] += sum(p not in heard for p in new.positions)
    plan.note_costs(new, result.traffic)


def _report(result: Judged, job: str, said: Said, taken: Taken) -> None:
    message = said.message
    if said.spoiled:
        result.aside.append(Aside(said, UNDECODABLE, said.spoiled, told=True))
    elif taken.strange:
        result.aside.append(Aside(said, STRANGER, taken.strange, told=True))
    elif taken.wrong:
        some = "; ".join(f"position {p}: {why}" for p, why in list(taken.wrong.items())[:5])
        result.aside.append(Aside(said, taken.code, some, told=True))
    if taken.again:
        slot = (message.stage, message.judge, message.slot)
        headers = tracing.caused_by(said.delivery) if said.delivery is not None else {}
        again = message.attempt + 1
        result.escalated.append(
            escalation(job, message.suite, slot, taken.again, taken.code, attempt=again, headers=headers)
        )


def _row(said: Said, new: Judgments, part: int) -> dict[str, Any]:
    if new is said.message and said.delivery is not None:  # kept whole: its own bytes are its record
        body, encoding = said.delivery.body, said.delivery.content_encoding
    else:
        encoded = encode(new, limit=OWN_LIMIT)
        body, encoding = encoded.body, encoded.content_encoding
    return {
        "job": new.job, "suite": new.suite, "stage": new.stage, "judge": new.judge, "slot": new.slot, "part": part,
        "count": len(new.positions), "body": body, "encoding": encoding,
    }  # fmt: skip


def overdue(connection: sa.Connection, job: str, after: int, limit: int) -> list[int]:
    """Suites behind number ``after`` that are without answers though something was said of them."""
    query = (
        sa.select(_suites.c.suite)
        .where(_suites.c.job == job, _suites.c.answers.is_(None), _suites.c.suite > after)
        .where(sa.exists().where(_judgments.c.job == job, _judgments.c.suite == _suites.c.suite))
    )
    return list(connection.scalars(query.order_by(_suites.c.suite).limit(limit)))
