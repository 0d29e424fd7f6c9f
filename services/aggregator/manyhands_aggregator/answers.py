"""The answers in source order, streamed out of the store in blocks of columns; never held whole."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgpack
import sqlalchemy as sa

from manyhands.errors import UnknownJob
from manyhands.messages import GOLD_ID, Failure
from manyhands_aggregator import tables
from manyhands_aggregator.decide import Decision
from manyhands_aggregator.suite import unjudged, unpack_answers
from manyhands_service.store import Store

_jobs, _suites = tables.jobs, tables.suites

#: Tasks that a block holds at least, but for the last one.
ROWS = 5000
#: Suites read in one go, at most; the fewer the larger they are.
PAGE = 500


@dataclass(slots=True)
class Block:
    """Answers as columns of one length. ``errors`` maps an index of the block to why there is no value.

    ``stages`` says which stage ended with the answer; None as a whole where the job has one stage only.
    """

    positions: list[int] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)
    confidences: list[float | None] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    errors: dict[int, Failure] = field(default_factory=dict)
    stages: list[int | None] | None = None

    def extend(self, row: sa.Row[Any], otherwise: Failure) -> None:
        """Add a suite as the store has it; one without answers has failed of ``otherwise``. Gold is left out."""
        self.add(row.first, ids_of(row), None if row.answers is None else unpack_answers(row.answers), otherwise)

    def add(self, first: int, ids: Sequence[str], decision: Decision | None, otherwise: Failure) -> None:
        """Add a suite that begins at position ``first``; one without a decision has failed of ``otherwise``.

        Gold that was mixed in is no answer of the job's, and is left out.
        """
        if GOLD_ID in ids:
            kept = [index for index, own in enumerate(ids) if own != GOLD_ID]
            suite = Block(stages=None if self.stages is None else [])
            suite._add(first, ids, decision, otherwise)
            self._join(suite, kept)
        else:
            self._add(first, ids, decision, otherwise)

    def _add(self, first: int, ids: Sequence[str], decision: Decision | None, otherwise: Failure) -> None:
        count, start = len(ids), len(self.positions)
        self.positions += range(first, first + count)
        self.ids += ids
        if decision is None:
            self.values += [None] * count
            self.confidences += [None] * count
            self.counts += [0] * count
            self.errors |= dict.fromkeys(range(start, start + count), otherwise)
            if self.stages is not None:
                self.stages += [None] * count
            return
        if self.stages is not None:
            self.stages += decision.stages or [None] * count
        self.values += decision.values
        self.confidences += decision.confidences
        self.counts += decision.counts
        self.errors |= {start + index: failure for index, failure in decision.errors.items()}

    def _join(self, other: Block, rows: Sequence[int]) -> None:
        """Add some rows of another block."""
        start = len(self.positions)
        for own, others in zip(self._columns(), other._columns(), strict=True):
            own += [others[row] for row in rows]
        self.errors |= {start + at: other.errors[row] for at, row in enumerate(rows) if row in other.errors}

    def _columns(self) -> list[list[Any]]:
        columns: list[list[Any]] = [self.positions, self.ids, self.values, self.confidences, self.counts]
        return columns if self.stages is None else [*columns, self.stages]

    def between(self, start: int, end: int) -> Block:
        """The rows ``start`` up to ``end``."""
        return Block(
            self.positions[start:end],
            self.ids[start:end],
            self.values[start:end],
            self.confidences[start:end],
            self.counts[start:end],
            {index - start: failure for index, failure in self.errors.items() if start <= index < end},
            None if self.stages is None else self.stages[start:end],
        )


def ids_of(row: sa.Row[Any]) -> list[str]:
    """The ids of a suite's tasks: their own, or else their positions."""
    own: list[str | None] = [None] * row.tasks if row.ids is None else msgpack.unpackb(row.ids)
    return [str(row.first + index) if said is None else said for index, said in enumerate(own)]


def blocks(store: Store, job: str) -> Iterator[Block]:
    """All the answers. Open tasks are passed over while the job is open; when it has ended they have failed.

    Raises:
        UnknownJob: the aggregator has not heard of it.
    """
    state, reason, staged = store.read(lambda c: _state(c, job))
    otherwise = unjudged(state, reason)
    block = _block(staged)
    # a transaction a page: whoever reads slowly must not keep one open
    for rows in pages(lambda of: store.read(lambda c: c.execute(_SUITES, of).all()), job, -1, PAGE):
        for row in rows:
            if row.answers is not None or state != "open":
                block.extend(row, otherwise)
                if len(block.positions) >= ROWS:
                    yield block
                    block = _block(staged)
    if block.positions:
        yield block


def page(store: Store, job: str, *, after: int, limit: int) -> Block:
    """Up to ``limit`` settled answers behind position ``after``, without a gap: up to the first that is open.

    Raises:
        UnknownJob: the aggregator has not heard of it.
    """
    return store.read(lambda c: _page(c, job, after, limit))


def _page(connection: sa.Connection, job: str, after: int, limit: int) -> Block:
    found = connection.execute(_PLACE, {"job": job, "position": after + 1}).one_or_none()
    if found is None:
        raise _unknown(job)
    state, reason, spec, begin = found
    otherwise = unjudged(state, reason)
    block = _block(_staged(spec))
    expected = begin
    for rows in pages(
        lambda of: connection.execute(_SUITES, of).all(), job, -1 if begin is None else begin - 1, min(PAGE, limit)
    ):
        for row in rows:
            if row.first != expected or (row.answers is None and state == "open"):
                return _behind(block, after, limit)
            block.extend(row, otherwise)
            expected = row.first + row.tasks
        if len(block.positions) - bisect_right(block.positions, after) >= limit:
            break
    return _behind(block, after, limit)


def _behind(block: Block, after: int, limit: int) -> Block:
    start = bisect_right(block.positions, after)
    return block.between(start, start + limit)


#: Built once: building a statement costs more than running it. ``tasks``, because a row is a tuple and has ``count``.
_STATE = sa.select(_jobs.c.state, _jobs.c.reason, _jobs.c.spec).where(_jobs.c.job == sa.bindparam("job"))
#: The state of a job, and where the suite begins that has a position.
_PLACE = sa.select(
    _jobs.c.state,
    _jobs.c.reason,
    _jobs.c.spec,
    sa.select(sa.func.max(_suites.c.first))
    .where(_suites.c.job == sa.bindparam("job"), _suites.c.first <= sa.bindparam("position"))
    .scalar_subquery(),
).where(_jobs.c.job == sa.bindparam("job"))
_SUITES = (
    sa.select(_suites.c.first, _suites.c.count.label("tasks"), _suites.c.ids, _suites.c.answers)
    .where(_suites.c.job == sa.bindparam("job"), _suites.c.first > sa.bindparam("after"))
    .order_by(_suites.c.first)
    .limit(sa.bindparam("most"))
)

#: Rows of ``_SUITES``.
Rows = Sequence[Any]


def pages(fetch: Callable[[dict[str, Any]], Rows], job: str, after: int, most: int) -> Iterator[Rows]:
    """Suites that begin behind position ``after``, in pages of about ``ROWS`` tasks; ``fetch`` runs ``_SUITES``."""
    suites = 2  # the first page tells how large they are
    while True:
        rows = fetch({"job": job, "after": after, "most": suites})
        if rows:
            yield rows
        if len(rows) < suites:
            return
        after = rows[-1].first
        suites = min(most, max(1, ROWS // rows[-1].tasks))


def _state(connection: sa.Connection, job: str) -> tuple[str, str | None, bool]:
    """A job's state, why it is in it, and whether it has several stages."""
    row = connection.execute(_STATE, {"job": job}).one_or_none()
    if row is None:
        raise _unknown(job)
    return row.state, row.reason, _staged(row.spec)


def _staged(spec: str | None) -> bool:
    return spec is not None and len(json.loads(spec)["stages"]) > 1


def _block(staged: bool) -> Block:
    return Block(stages=[] if staged else None)


def _unknown(job: str) -> UnknownJob:
    return UnknownJob(f"{job!r}; `manyhands status` lists the jobs")
