"""What the answers of a job rest on: its tasks and every judgment of them, streamed out of the store as JSON Lines."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgpack
import orjson
import sqlalchemy as sa

from manyhands import __version__
from manyhands.errors import UnknownJob
from manyhands.messages import Failure, Judgments
from manyhands.spec import received
from manyhands_aggregator import answers, judging, ratings, reading, rewards, tables
from manyhands_aggregator.course import Basis
from manyhands_aggregator.plan import Plan
from manyhands_aggregator.suite import unpack_answers, unpack_failures
from manyhands_service.store import Store

_suites = tables.suites

#: What of a job's progress holds for ever once it has ended.
FACTS = (
    "job", "name", "state", "tasks", "answered", "failed", "cancelled", "judgments", "opened", "ended", "seconds",
)  # fmt: skip
SOMETIMES = ("reason", "gold", "accuracy", "spent", "due")


def about(store: Store, job: str, now: float) -> dict[str, Any]:
    """What a bundle says of a job: what became of it, its job file, and the versions of what decided.

    ``earned`` is what people have earned, where there are rewards;
    ``out`` are the workers whose judgments do not count by the job's rules, where there are any; ``due`` is true while
    the answers of a job that has ended are still to be gone over as a whole.

    Raises:
        UnknownJob: the aggregator has not heard of it, or not of its job file.
    """
    said = store.read(lambda c: reading.progress(c, job, now))
    spec, out = _spec(store, job), sorted(store.read(lambda c: ratings.out(c, job)))
    facts = {key: said[key] for key in FACTS} | {key: said[key] for key in SOMETIMES if key in said}
    if out:
        facts["out"] = out
    if received(spec).rewards is not None:
        facts["earned"] = store.read(lambda c: rewards.earned(c, job))
    return {**facts, "job_file": json.loads(spec), "versions": versions()}


def versions() -> dict[str, str | None]:
    """The versions of what answers depend on; None of what is not installed."""
    try:
        numpy = importlib.metadata.version("numpy")
    except importlib.metadata.PackageNotFoundError:
        numpy = None
    return {"manyhands": __version__, "numpy": numpy, "python": platform.python_version()}


def tasks(store: Store, job: str) -> Iterator[bytes]:
    """Every task in source order: position, id, suite, and where there is such a thing truth, refused, open, accepted.

    ``refused`` says why nobody was asked of it; ``open``, that the job has ended before its suite was decided;
    ``accepted``, in a plan that cascades, how far the task came and what its answer rests on: the slots whose judgments
    counted, and how probable each was taken to be right, where that has a part in it. Of what an earlier version
    accepted it is the answer itself.

    Raises:
        UnknownJob: the aggregator has not heard of it, or not of its job file.
    """
    plan = Plan.of(received(_spec(store, job)))
    query = _DECIDED if plan.cascades else _TASKS
    for rows in answers.pages(lambda of: store.read(lambda c: c.execute(query, of).all()), job, -1, answers.PAGE):
        for row in rows:
            accepted = _accepted(row) if plan.cascades and row.answers is not None else {}
            yield b"".join(_task_lines(row, accepted))


def _accepted(row: sa.Row[Any]) -> dict[int, dict[str, Any]]:
    """What was accepted of a suite, by position."""
    decision = unpack_answers(row.answers)
    stages, bases = decision.stages or [0] * row.tasks, decision.bases or [None] * row.tasks
    columns = zip(decision.values, decision.confidences, decision.counts, stages, strict=True)
    return {
        row.first + index: dict(zip(("value", "confidence", "votes", "stage"), one, strict=True))
        if basis is None
        else {"stage": one[-1], "rests_on": _rests_on(basis)}
        for index, (one, basis) in enumerate(zip(columns, bases, strict=True))
        if index not in decision.errors
    }


def _rests_on(basis: Basis) -> list[list[Any]]:
    """Stage, judge and slot of each judgment, and behind them how probable it was taken to be right."""
    if basis.rights is None:
        return [list(slot) for slot in basis.slots]
    return [[*slot, right] for slot, right in zip(basis.slots, basis.rights, strict=True)]


def _task_lines(row: sa.Row[Any], accepted: Mapping[int, Any]) -> Iterator[bytes]:
    truths = [None] * row.tasks if row.truths is None else msgpack.unpackb(row.truths, strict_map_key=False)
    refused = unpack_failures(row.refused)
    for position, own, truth in zip(range(row.first, row.first + row.tasks), answers.ids_of(row), truths, strict=True):
        said: dict[str, Any] = {"position": position, "id": own, "suite": row.suite}
        if truth is not None:
            said["truth"] = truth
        if position in refused:
            said["refused"] = _failure(refused[position])
        if row.open:
            said["open"] = True
        if position in accepted:
            said["accepted"] = accepted[position]
        yield _line(said)


def judgments(store: Store, job: str) -> Iterator[bytes]:
    """Every judgment and every failure that was kept, by position, stage, judge in the order of the plan, and slot.

    A judge that failed and judged later has a line for each. Memory is that of a page of suites.

    Raises:
        UnknownJob: the aggregator has not heard of it, or not of its job file.
    """
    spec = received(_spec(store, job))
    judges = [(stage, judge) for stage, each in enumerate(spec.stages) for judge in each.judges]
    rank = {(stage, judge.judge): at for at, (stage, judge) in enumerate(judges)}
    prices = {(stage, judge.judge): judge.price for stage, judge in judges if judge.price}

    def fetch(of: dict[str, Any]) -> Sequence[Any]:
        return store.read(lambda c: _with_said(c, job, c.execute(_TASKS, of).all()))

    # what is yielded is one suite at a time; what is held, a page of them in their wire form and one unpacked
    for rows in answers.pages(fetch, job, -1, answers.PAGE):
        for row in rows:
            lines: list[_Ordered] = []
            for message in row.said:
                judge = message.stage, message.judge
                lines += _said_lines(message, row, rank[judge], prices.get(judge))
            lines.sort(key=lambda line: line[:3])
            yield b"".join(line for *_, line in lines)


#: Position, place of the judge in the plan, slot, and the line.
_Ordered = tuple[int, int, int, bytes]


class _Suite:
    """A row of ``_TASKS`` and what was said of it."""

    __slots__ = ("first", "ids", "said", "tasks")

    def __init__(self, row: sa.Row[Any]) -> None:
        self.first, self.tasks, self.ids = row.first, row.tasks, answers.ids_of(row)
        self.said: list[Judgments] = []


def _with_said(connection: sa.Connection, job: str, rows: Sequence[sa.Row[Any]]) -> list[_Suite]:
    suites = {row.suite: _Suite(row) for row in rows}
    for message in judging.said_of(connection, job, list(suites)):
        suites[message.suite].said.append(message)
    return list(suites.values())


def _said_lines(message: Judgments, suite: _Suite, rank: int, price: float | None) -> Iterator[_Ordered]:
    common: dict[str, Any] = {"stage": message.stage, "judge": message.judge, "slot": message.slot}
    common["worker"] = message.worker
    after: dict[str, Any] = {"started": message.started, "finished": message.finished}
    after |= {"version": message.version, "attempt": message.attempt}
    confidences, costs = (each or (None,) * len(message.positions) for each in (message.confidences, message.costs))
    for position, value, confidence, own in zip(message.positions, message.values, confidences, costs, strict=True):
        said = {"position": position, "id": suite.ids[position - suite.first], **common, "value": value}
        if confidence is not None:
            said["confidence"] = confidence
        cost = own if own is not None or position in message.errors else price
        if cost is not None:
            said["cost"] = cost
        said |= after
        if position in message.errors:
            said["error"] = _failure(message.errors[position])
        yield position, rank, message.slot, _line(said)


def _failure(failure: Failure) -> Mapping[str, str]:
    return {"code": failure.code, "message": failure.message}


def _line(said: Mapping[str, Any]) -> bytes:
    # a truth may be bytes, or a key of it no text: it is no answer of any type then, and stays one that can be read
    return orjson.dumps(said, default=repr, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS)


def _spec(store: Store, job: str) -> str:
    spec = store.read(lambda c: c.scalar(sa.select(tables.jobs.c.spec).where(tables.jobs.c.job == job)))
    if spec is None:
        raise UnknownJob(f"{job!r}; `manyhands status` lists the jobs")
    return str(spec)


#: ``tasks``, because a row is a tuple and has ``count``.
_TASKS = (
    sa.select(
        _suites.c.suite, _suites.c.first, _suites.c.count.label("tasks"), _suites.c.ids, _suites.c.truths,
        _suites.c.refused, _suites.c.answers.is_(None).label("open"),
    )
    .where(_suites.c.job == sa.bindparam("job"), _suites.c.first > sa.bindparam("after"))
    .order_by(_suites.c.first)
    .limit(sa.bindparam("most"))
)  # fmt: skip
#: The same with what was decided.
_DECIDED = _TASKS.add_columns(_suites.c.answers)

#: What of a job streams, by name.
STREAMS: dict[str, Callable[[Store, str], Iterator[bytes]]] = {"tasks": tasks, "judgments": judgments}
