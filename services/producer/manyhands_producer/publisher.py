"""Out of the spool and to the broker: jobs take turns suite by suite, confirms come back by and by.

One thread publishes. A job's cursor moves over the suites of which every message and the news are confirmed; it is
committed in batches, so after a crash a few suites are published again, which harms nobody.
"""

from __future__ import annotations

import random
import threading
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from manyhands import backoff, logs, metrics
from manyhands.broker import Broker, Outgoing, Publisher
from manyhands.clock import Clock
from manyhands.errors import BrokerError, StoreUnavailable, TooLarge, Unroutable
from manyhands.messages import JOB_CANCELLED, JOB_OPENED, JOB_SEALED
from manyhands.settings import Settings
from manyhands.topology import topology
from manyhands_producer.board import Board, Live
from manyhands_producer.outgoing import Messages
from manyhands_producer.scheduler import turns
from manyhands_producer.spool import Spooled
from manyhands_producer.store import ProducerStore, Progress, State

_log = logs.get(__name__)

#: Suites published in one round, and bytes of them read from the spool at once for one job.
ROUND, LOAD_BYTES = 256, 8 << 20
#: Bytes published and not yet confirmed; a window counts messages, and these may be large.
UNCONFIRMED_BYTES = 16 << 20
#: Seconds between two commits of cursors, at least.
SAVE_EVERY = 0.05
#: Seconds between two looks at a broker that is away, and the longest sleep.
AWAY, IDLE = 0.05, 1.0

#: What a confirm is of: a judge's slot of a suite, the news of suites, or one of a job's own events.
Slot = tuple[str, int]
NEWS, OPENED, CLOSED = ("", -1), ("", -2), ("", -3)


@dataclass(slots=True, eq=False)
class _Desk:
    """What the publisher knows of one job. ``pending`` counts what is unconfirmed of each suite, oldest suite first.

    ``told`` is the state that the last job event told of, ``closed`` that of which it is confirmed.
    """

    live: Live
    pending: dict[int, int] = field(default_factory=dict)
    failed: dict[int, set[Slot]] = field(default_factory=dict)
    opened: bool = False
    announced: bool = False
    told: State | None = None
    closed: State | None = None
    failures: int = 0
    again_at: float = 0.0
    saved: tuple[int, bool, State | None] = (0, False, None)

    @property
    def confirmed(self) -> int:
        """All suites below this one are confirmed."""
        return next(iter(self.pending), self.live.next)


class _Ticket:
    """Goes with a message and comes back with its confirm."""

    __slots__ = ("desk", "inbox", "size", "slot", "suites")

    def __init__(self, inbox: _Inbox, desk: _Desk, suites: tuple[int, ...], slot: Slot, size: int) -> None:
        self.inbox, self.desk, self.suites, self.slot, self.size = inbox, desk, suites, slot, size

    def __call__(self, error: BrokerError | None) -> None:
        self.inbox.put(self, error)


class _Inbox:
    """Confirms on their way from the adapter's thread to the publisher's, which is woken only when it sleeps."""

    def __init__(self, board: Board) -> None:
        self.items: deque[tuple[_Ticket, BrokerError | None]] = deque()
        self.asleep = False
        self._board = board

    def put(self, ticket: _Ticket, error: BrokerError | None) -> None:
        self.items.append((ticket, error))
        if self.asleep:
            self._board.ring()


class Pump:
    """The publisher's thread."""

    def __init__(
        self, settings: Settings, store: ProducerStore, board: Board, broker: Broker, publisher: Publisher, clock: Clock
    ) -> None:
        self._settings, self._store, self._board, self._broker, self._publisher = (
            settings,
            store,
            board,
            broker,
            publisher,
        )
        self._clock = clock
        self._messages = Messages(settings.names, settings.body_limit)
        self._inbox = _Inbox(board)
        self._stop = threading.Event()
        self._desks: dict[str, _Desk] = {}
        self._declared: set[str] = set()
        self._last: str | None = None
        self._bytes = 0
        self._saved_at = 0.0
        self._counts: Counter[str] = Counter()

    def run(self) -> None:
        """Publish until :meth:`stop`."""
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
                self._sleep(rung)

    def stop(self) -> None:
        """Publish no more."""
        self._stop.set()
        self._board.ring()

    def finish(self) -> None:
        """After :meth:`run`, when nothing is unconfirmed any more: commit how far everything came."""
        self._take_confirms()
        self._save(now=None)

    def round(self) -> bool:
        """One round: confirms in, messages out, cursors saved. Whether there may be more to do at once.

        Raises:
            StoreUnavailable: the round was not finished; nothing is lost.
        """
        self._take_confirms()
        worked = False
        if self._publisher.ready:
            desks = [desk for desk in self._attend() if self._prepared(desk)]
            for desk in desks:
                worked |= self._announce(desk)
                worked |= self._again(desk)
            worked |= self._publish_suites(desks)
            for desk in desks:
                worked |= self._close(desk)
        self._take_confirms()
        self._save(self._clock.monotonic())
        self._board.measure()
        return worked

    def _sleep(self, rung: int) -> None:
        now = self._clock.monotonic()
        timeout = IDLE if self._publisher.ready else AWAY
        for desk in self._desks.values():
            if desk.again_at > now:
                timeout = min(timeout, desk.again_at - now)
        if any(_progress(desk) != desk.saved for desk in self._desks.values()):
            timeout = min(timeout, max(0.0, self._saved_at + SAVE_EVERY - now))
        self._inbox.asleep = True
        if not self._inbox.items:
            self._board.wait(rung, timeout)
        self._inbox.asleep = False

    # -- jobs ----------------------------------------------------------------------------------------------------------

    def _attend(self) -> list[_Desk]:
        """A desk for every live job."""
        lives = self._board.jobs()
        if len(lives) != len(self._desks) or any(live.job not in self._desks for live in lives):
            names = {live.job for live in lives}
            self._desks = {job: desk for job, desk in self._desks.items() if job in names}
            for live in lives:
                if live.job not in self._desks:
                    closed = live.state if live.closed else None
                    desk = _Desk(live, opened=live.announced, announced=live.announced, told=closed, closed=closed)
                    desk.saved = (live.published, live.announced, closed)
                    self._desks[live.job] = desk
        return list(self._desks.values())

    def _prepared(self, desk: _Desk) -> bool:
        """Whether the job may publish now: it is not backing off, and its judges' queues are declared."""
        now = self._clock.monotonic()
        if now < desk.again_at:
            return False
        judges = {j.judge for j in desk.live.spec.judges}
        if not self._settings.declare or judges <= self._declared:
            return True
        try:
            self._broker.declare(topology(self._settings.names, sorted(judges)))
        except BrokerError as error:
            self._back_off(desk, error)
            return False
        self._declared |= judges
        return True

    def _back_off(self, desk: _Desk, error: BrokerError) -> None:
        now = self._clock.monotonic()
        if now < desk.again_at:
            return  # one of many that failed together
        desk.failures += 1
        delay = backoff.reconnect_delay(desk.failures, random.random)
        desk.again_at = now + delay
        _log.warning("publishing again", job=desk.live.job, error=str(error), again_in=round(delay, 2))
        if isinstance(error, Unroutable):
            self._declared.clear()

    def _announce(self, desk: _Desk) -> bool:
        live = desk.live
        if desk.opened:
            return False
        desk.opened = True
        data = {"spec": live.spec.plain(), "digest": live.digest, "opened": live.opened}
        try:
            message = self._messages.event(JOB_OPENED, live.job, data)
        except TooLarge as error:
            self._give_up(live, f"the job file is too large: {error.detail}")
            desk.announced = True
            return True
        self._publish(message, desk, (), OPENED)
        return True

    def _close(self, desk: _Desk) -> bool:
        """Say that the job is sealed or cancelled, once all before it is confirmed."""
        live = desk.live
        state = live.state
        if state == "open" or desk.told == state or (state == "ended" and desk.told == "sealed"):
            return False
        if live.ahead > 0 or desk.pending or not desk.announced:
            return False
        row = self._store.job(live.job)
        if row.state != state or row.suites > live.suites:
            self._board.moved(row)
            return True
        desk.told = state
        data = {"tasks": row.tasks, "suites": row.suites}
        if state == "cancelled":
            message = self._messages.event(JOB_CANCELLED, live.job, {"reason": row.reason or "", **data})
        else:
            message = self._messages.event(JOB_SEALED, live.job, data)
        self._publish(message, desk, (), CLOSED)
        return True

    def _give_up(self, live: Live, reason: str) -> None:
        _log.error("job cancelled", job=live.job, reason=reason)
        self._board.moved(self._store.end(live.job, "cancelled", reason))

    # -- suites --------------------------------------------------------------------------------------------------------

    def _publish_suites(self, desks: Sequence[_Desk]) -> bool:
        by_job = {desk.live.job: desk for desk in desks}
        with self._board.changed:
            ready = {job: self._room(desk.live) for job, desk in by_job.items() if not desk.failed}
        order = turns(ready, self._last, ROUND)
        if not order:
            return False
        loaded: dict[str, deque[Spooled]] = {}
        for job, count in Counter(order).items():
            desk = by_job[job]
            suites = self._take(desk.live, count)
            over = desk.live.over
            loaded[job] = deque() if over else deque(suites)
            # the news goes first, but nobody waits for its confirm: the aggregator takes any order
            each = len(self._slots(desk))
            for suite in suites:
                desk.pending[suite.suite] = 1 + (each if suite.payloads and not over else 0)
            self._news(desk, suites)
        for job in order:
            if loaded[job]:
                suite = loaded[job].popleft()
                if suite.payloads:
                    self._last = job
                    self._send(by_job[job], suite, self._slots(by_job[job]))
        return True

    def _room(self, live: Live) -> int:
        """How many suites the job may publish now; of one that is over only the news is told, and it needs no room."""
        if live.over:
            return live.ahead
        most = max(1, LOAD_BYTES // max(live.largest, 1))
        return min(live.ahead, live.spec.in_flight - len(live.unsettled), most)

    def _take(self, live: Live, most: int) -> list[Spooled]:
        """The next suites out of the spool; they take up the job's window from now on."""
        with self._board.changed:
            first, until, bodies = live.next, live.suites, not live.over
            live.early = set()
        found: list[Spooled] = []
        try:
            found = self._store.waiting(live.number, first, most, bodies=bodies)
        except StoreUnavailable:
            until = first
            raise
        finally:
            with self._board.changed:
                early, live.early = live.early or set(), None
                suites = [s for s in found if s.suite not in early]
                # suites that were settled before they were published again are gone from the spool
                live.next = max(first, found[-1].suite + 1 if found else until)
                live.waiting = max(0, live.waiting - sum(s.size for s in found)) if live.ahead else 0
                if not live.over:
                    live.unsettled.update(s.suite for s in suites)
        return suites

    def _slots(self, desk: _Desk) -> list[Slot]:
        return [(j.judge, slot) for j in desk.live.spec.judges for slot in range(j.judgments)]

    def _news(self, desk: _Desk, suites: Sequence[Spooled]) -> None:
        for message, numbers in self._messages.opened(desk.live.job, suites):
            self._publish(message, desk, numbers, NEWS)

    def _send(self, desk: _Desk, suite: Spooled, slots: Sequence[Slot]) -> None:
        live, positions = desk.live, suite.positions
        for judge, slot in slots:
            try:
                message = self._messages.suite(
                    live.job, suite.suite, judge, slot, positions, suite.payloads,
                    spec=live.spec, digest=live.digest, opened=live.opened,
                )  # fmt: skip
            except TooLarge as error:  # the body limit was lowered since it was cut
                self._give_up(live, f"suite {suite.suite} is too large: {error.detail}")
                desk.failed.setdefault(suite.suite, set()).add((judge, slot))
                continue
            self._publish(message, desk, (suite.suite,), (judge, slot))

    def _again(self, desk: _Desk) -> bool:
        """Publish once more what failed, unless its suite is settled by now."""
        if not desk.failed:
            return False
        numbers = list(desk.failed)[:ROUND]
        rows = self._store.suites(desk.live.number, numbers)
        news: list[Spooled] = []
        for number in numbers:
            slots, suite = desk.failed.pop(number), rows.get(number)
            if suite is None:
                desk.pending.pop(number, None)
                continue
            if NEWS in slots:
                slots.remove(NEWS)
                news.append(suite)
            if desk.live.over:
                self._settled(desk, number, len(slots))
            else:
                self._send(desk, suite, sorted(slots))
        self._news(desk, news)
        return True

    # -- messages and confirms -----------------------------------------------------------------------------------------

    def _publish(self, message: Outgoing, desk: _Desk, suites: tuple[int, ...], slot: Slot) -> None:
        size = len(message.body)
        while self._bytes > UNCONFIRMED_BYTES and not self._stop.is_set():
            rung = self._board.rung()
            self._inbox.asleep = True
            if not self._inbox.items:
                self._board.wait(rung, IDLE)
            self._inbox.asleep = False
            self._take_confirms()
        self._bytes += size
        self._publisher.publish(message, _Ticket(self._inbox, desk, suites, slot, size))

    def _take_confirms(self) -> None:
        items = self._inbox.items
        while items:
            ticket, error = items.popleft()
            desk, slot = ticket.desk, ticket.slot
            self._bytes -= ticket.size
            if error is not None:
                self._failed(desk, ticket, error)
                continue
            desk.failures = 0
            if slot == OPENED:
                desk.announced = True
            elif slot == CLOSED:
                desk.closed = desk.told
            else:
                for suite in ticket.suites:
                    self._settled(desk, suite, 1)
                if slot != NEWS:
                    self._counts[slot[0]] += 1
        if self._counts:
            for judge, count in self._counts.items():
                metrics.SUITES_PUBLISHED.labels(judge).inc(count)
            self._counts.clear()

    def _settled(self, desk: _Desk, suite: int, count: int) -> None:
        left = desk.pending.get(suite, 0) - count
        if left > 0:
            desk.pending[suite] = left
        else:
            desk.pending.pop(suite, None)

    def _failed(self, desk: _Desk, ticket: _Ticket, error: BrokerError) -> None:
        self._back_off(desk, error)
        if ticket.slot == OPENED:
            desk.opened = False
        elif ticket.slot == CLOSED:
            desk.told = desk.closed
        else:
            for suite in ticket.suites:
                desk.failed.setdefault(suite, set()).add(ticket.slot)

    def _save(self, now: float | None) -> None:
        """Commit how far jobs are confirmed: seldom enough to cost nothing, soon enough when there is little to do."""
        if now is not None and now - self._saved_at < SAVE_EVERY:
            return
        moved = [(desk, progress) for desk in self._desks.values() if (progress := _progress(desk)) != desk.saved]
        if not moved:
            return
        self._store.advance(
            [
                Progress(number=desk.live.number, published=published, announced=announced, closed=closed)
                for desk, (published, announced, closed) in moved
            ]
        )
        self._saved_at = self._clock.monotonic()
        for desk, progress in moved:
            desk.saved = progress
            if desk.closed is not None and desk.live.over:
                self._board.remove(desk.live)


def _progress(desk: _Desk) -> tuple[int, bool, Any]:
    return desk.confirmed, desk.announced, desk.closed
