"""From the sources into the spool: reads, cuts, spools, a batch of one job after another."""

from __future__ import annotations

import json
import random
import threading
from dataclasses import dataclass

from manyhands import backoff, logs, metrics
from manyhands.clock import Clock
from manyhands.errors import SourceError, StoreUnavailable
from manyhands_producer.board import Board, Live
from manyhands_producer.cutter import Limits, cut
from manyhands_producer.errors import Moved, Repeated
from manyhands_producer.record import Added, State
from manyhands_producer.sources import (
    Gold,
    Mixed,
    Roots,
    Rows,
    Source,
    check_roots,
    load_gold,
    load_mixed,
    open_source,
)
from manyhands_producer.sources.files import said
from manyhands_producer.spool import Cut
from manyhands_producer.store import ProducerStore

_log = logs.get(__name__)

#: Rows and bytes of one batch, which is one transaction.
BATCH_ROWS, BATCH_BYTES = 20_000, 4 << 20
#: Suites and bytes that may lie in the spool unpublished, for each job that has a source.
AHEAD_SUITES, AHEAD_BYTES = 256, 16 << 20
#: The same of a job whose budget is to last for later stages: until its total is known they get nothing of it.
AHEAD_OF_BUDGET = 16_384
#: How often a source may fail in a row before its job is cancelled.
ATTEMPTS = 6
#: The longest sleep, in seconds.
IDLE = 1.0


@dataclass(slots=True)
class _Reading:
    """A source that is being read; None while it is to be opened (again)."""

    source: Source | None = None
    gold: Gold | None = None
    mixed: Mixed | None = None
    failures: int = 0
    again_at: float = 0.0


class Reader:
    """The thread that reads."""

    def __init__(
        self, store: ProducerStore, board: Board, limits: Limits, clock: Clock, roots: Roots | None = None
    ) -> None:
        self._store, self._board, self._limits, self._clock, self._roots = store, board, limits, clock, roots
        self._stop = threading.Event()
        self._readings: dict[str, _Reading] = {}

    def run(self) -> None:
        """Read until :meth:`stop`."""
        failures = 0
        while not self._stop.is_set():
            rung = self._board.rung()
            try:
                worked = self.round()
                failures = 0
            except StoreUnavailable as error:
                failures += 1
                delay = backoff.reconnect_delay(failures, random.random)
                _log.warning("waiting for the store", error=str(error), again_in=round(delay, 2))
                self._stop.wait(delay)
                continue
            if not worked:
                self._board.wait(rung, self._pause())
        for reading in self._readings.values():
            _close(reading)

    def stop(self) -> None:
        """Read no more."""
        self._stop.set()
        self._board.ring()

    def round(self) -> bool:
        """A batch of every job that has room; whether there was any.

        Raises:
            StoreUnavailable: what was read is read again.
        """
        worked = False
        lives = {live.job: live for live in self._board.jobs() if live.spec.source is not None and live.state == "open"}
        for job in [job for job in self._readings if job not in lives]:
            _close(self._readings.pop(job))
        for job, live in lives.items():
            reading = self._readings.setdefault(job, _Reading())
            if self._stop.is_set() or self._clock.monotonic() < reading.again_at or self._room(live) <= 0:
                continue
            self._batch(live, reading)
            worked = True
        if not worked and self._board.purge:
            self._board.purge = self._store.purge_ids() > 0
            worked = self._board.purge
        return worked

    def _pause(self) -> float:
        now = self._clock.monotonic()
        return min([IDLE, *(max(0.0, r.again_at - now) for r in self._readings.values() if r.again_at > now)])

    def _room(self, live: Live) -> int:
        """How many suites may be read: none until half of what may lie ahead is gone, so that batches stay large."""
        with self._board.changed:
            shared = live.spec.affordable is not None and live.spec.cascades
            most = max(2 * live.spec.in_flight, AHEAD_OF_BUDGET if shared else AHEAD_SUITES)
            if live.ahead > most // 2 or live.waiting > AHEAD_BYTES:
                return 0
            return most - live.ahead

    def _batch(self, live: Live, reading: _Reading) -> None:
        try:
            if reading.source is None:
                check_roots(live.spec, self._roots)  # links may lead elsewhere by now, and roots be others
                reading.gold = load_gold(live.spec)
                row = self._store.job(live.job)
                reading.mixed = load_mixed(
                    live.spec, live.job, row.secret or b"", limit=self._limits.task, roots=self._roots
                )
                reading.source = open_source(
                    live.spec,
                    json.loads(row.cursor) if row.cursor else None,
                    limit=self._limits.task,
                    roots=self._roots,
                )
            suites = self._limits.tasks(live.spec.suite)
            most = min(self._room(live), max(1, BATCH_ROWS // suites)) * suites
            rows = reading.source.read(most, BATCH_BYTES)
            self._spool(live, reading, reading.source, rows)
            reading.failures = 0
        except Moved:
            _close(reading)
            self._board.moved(self._store.job(live.job))
        except SourceError as error:
            self._cancel(live, error.detail)
        except OSError as error:
            _close(reading)
            self._later(live, reading, error)
        except StoreUnavailable:
            _close(reading)
            raise
        except Exception as error:  # noqa: BLE001  whatever this is, it is of this job: the others go on
            _log.exception("reading failed", job=live.job)
            self._cancel(live, f"{type(error).__name__}: {error}")

    def _later(self, live: Live, reading: _Reading, error: OSError) -> None:
        reading.failures += 1
        path = live.spec.source.path if live.spec.source is not None else ""
        if reading.failures >= ATTEMPTS:
            self._cancel(live, f"{path}: {said(error)}")
            return
        delay = backoff.reconnect_delay(reading.failures, random.random)
        reading.again_at = self._clock.monotonic() + delay
        _log.warning("reading again", job=live.job, source=path, error=said(error), again_in=round(delay, 2))

    def _cancel(self, live: Live, reason: str) -> None:
        _log.warning("job cancelled", job=live.job, reason=reason)
        self._board.moved(self._store.end(live.job, "cancelled", reason))

    def _spool(self, live: Live, reading: _Reading, source: Source, rows: Rows) -> None:
        first, suite = live.tasks, live.suites
        own_ids = rows.ids is not None
        if reading.mixed is not None:
            rows = reading.mixed.mix(rows, first)
        else:
            _tell_truths(rows, reading.gold, first)
        strict = live.spec.source is not None and live.spec.source.on_bad_row == "stop"
        reason: str | None = None
        affordable = live.spec.affordable
        if affordable is not None:
            row = self._store.job(live.job)
            rows.pay(affordable, row.tasks - row.refused)
        while True:
            state: State = "sealed" if rows.end else "open"
            if strict and (bad := rows.bad()) is not None:
                rows, reason = rows.head(bad), rows.refused[bad].message
            cuts = cut(rows, suite=suite, first=first, tasks=live.spec.suite, limits=self._limits)
            if strict and rows.bad() is not None:
                continue  # cutting has found more: values that cannot travel
            if reason is not None:
                state = "cancelled"
            ids = rows.own_ids() if own_ids else []
            try:
                self._store.add(
                    live.number, suite, Added(cuts=cuts, ids=ids, cursor=source.cursor, state=state, reason=reason)
                )
            except Repeated as repeated:
                rows.refuse_repeated(repeated.known)
                continue
            break
        self._board.added(live, cuts, state, reason)
        count(cuts, rows)
        if state == "sealed":
            _log.info("source read", job=live.job, tasks=live.tasks, suites=live.suites)
        elif reason is not None:
            _log.warning("job cancelled", job=live.job, reason=reason)


def count(cuts: list[Cut], rows: Rows) -> None:
    """Count tasks in the metrics."""
    metrics.TASKS_READ.inc(sum(c.count for c in cuts))
    for refusal in rows.refused.values():
        metrics.TASKS_REFUSED.labels(refusal.code).inc()


def _close(reading: _Reading) -> None:
    if reading.source is not None:
        reading.source.close()
        reading.source = None


def _tell_truths(rows: Rows, gold: Gold | None, first: int) -> None:
    if gold is None:
        return
    ids = rows.ids if rows.ids is not None else map(str, range(first, first + len(rows.payloads)))
    truths = [None if own is None else gold.get(own) for own in ids]
    rows.truths = truths if any(truth is not None for truth in truths) else None
