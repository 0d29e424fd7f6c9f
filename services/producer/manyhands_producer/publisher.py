"""Out of the spool and to the broker: jobs take turns suite by suite, confirms come back by and by.

One thread publishes. A job's cursor moves over the suites of which every message and the news are confirmed; it is
committed in batches, so after a crash a few suites are published again, which harms nobody.
"""

from __future__ import annotations

import random
import threading
from collections import Counter, deque
from collections.abc import Mapping, Sequence

from manyhands import backoff, logs, tracing
from manyhands.broker import Broker, Publisher
from manyhands.clock import Clock
from manyhands.errors import BrokerError, StoreUnavailable, TooLarge, Unroutable
from manyhands.messages import JOB_CANCELLED, JOB_OPENED, JOB_SEALED
from manyhands.settings import Settings
from manyhands.topology import topology
from manyhands_producer.board import Board, Live
from manyhands_producer.courier import IDLE, Courier
from manyhands_producer.desk import CLOSED, NEWS, OPENED, Desk, Slot
from manyhands_producer.outgoing import Messages
from manyhands_producer.scheduler import turns
from manyhands_producer.spool import Spooled
from manyhands_producer.store import ProducerStore
from manyhands_producer.window import Window

_log = logs.get(__name__)

#: Suites published in one round.
ROUND = 256
#: Seconds for which a cursor that has moved waits for others to be committed with.
SAVE_EVERY = 0.05
#: Seconds between two looks at a broker that is away.
AWAY = 0.05


class Pump:
    """The publisher's thread."""

    def __init__(
        self, settings: Settings, store: ProducerStore, board: Board, broker: Broker, publisher: Publisher, clock: Clock
    ) -> None:
        self._settings, self._store, self._board, self._broker, self._clock = settings, store, board, broker, clock
        self._messages = Messages(settings.names, settings.body_limit)
        self._stop = threading.Event()
        self._courier = Courier(publisher, board, clock, self._stop)
        self._window = Window(store, board, clock)
        self._desks: dict[str, Desk] = {}
        self._declared: set[str] = set()
        self._last: str | None = None
        self._moved_at: float | None = None  # since when a cursor is further than the store knows

    def run(self) -> None:
        """Publish until :meth:`stop`."""
        failures = 0
        while not self._stop.is_set():
            rung = self._board.rung()
            try:
                worked = self.round()
                failures = 0
            except Exception as error:  # noqa: BLE001  the thread outlives whatever it meets
                failures += 1
                delay = backoff.reconnect_delay(failures, random.random)
                if isinstance(error, StoreUnavailable):
                    _log.warning("waiting for the store", error=str(error), again_in=round(delay, 2))
                else:
                    _log.exception("publishing failed", again_in=round(delay, 2))
                self._stop.wait(delay)
                continue
            if not worked:
                self._courier.sleep(rung, self._pause())

    def stop(self) -> None:
        """Publish no more."""
        self._stop.set()
        self._board.ring()

    def finish(self) -> None:
        """After :meth:`run`, when nothing is unconfirmed any more: commit how far everything came.

        Raises:
            StoreUnavailable: what is not noted is published again.
        """
        self._courier.take()
        self._save()

    def round(self) -> bool:
        """One round: confirms in, messages out, cursors saved. Whether there may be more to do at once.

        Raises:
            StoreUnavailable: the round was not finished; nothing is lost.
        """
        self._take_confirms()
        worked = False
        if self._courier.ready:
            desks = [desk for desk in self._attend() if self._prepared(desk)]
            for desk in desks:
                worked |= self._announce(desk)
                worked |= self._again(desk)
            worked |= self._publish_suites(desks)
            for desk in desks:
                worked |= self._close(desk)
        self._take_confirms()
        self._save_by_and_by()
        self._board.measure()
        return worked

    def _pause(self) -> float:
        now = self._clock.monotonic()
        pauses = [IDLE if self._courier.ready else AWAY]
        pauses += [desk.again_at - now for desk in self._desks.values() if desk.again_at > now]
        if self._moved_at is not None:
            pauses.append(max(0.0, self._moved_at + SAVE_EVERY - now))
        return min(pauses)

    def _take_confirms(self) -> None:
        if any(isinstance(error, Unroutable) for error in self._courier.take()):
            self._declared.clear()  # a queue has gone: declare them all once more

    def _save_by_and_by(self) -> None:
        """Commit cursors seldom enough to cost nothing, and not while what was just published is on its way."""
        if all(desk.progress == desk.saved for desk in self._desks.values()):
            self._moved_at = None
        elif self._moved_at is None:
            self._moved_at = self._clock.monotonic()
        elif self._clock.monotonic() - self._moved_at >= SAVE_EVERY:
            self._save()

    def _save(self) -> None:
        moved = [(desk, progress) for desk in self._desks.values() if (progress := desk.progress) != desk.saved]
        if not moved:
            return
        self._store.advance([progress for _, progress in moved])
        self._moved_at = None
        for desk, progress in moved:
            desk.saved = progress
            if desk.closed is not None and desk.live.over:
                self._board.remove(desk.live)

    # -- jobs ----------------------------------------------------------------------------------------------------------

    def _attend(self) -> list[Desk]:
        """A desk for every live job."""
        lives = self._board.jobs()
        known = {desk.live: desk for desk in self._desks.values()}  # a job may have gone and come back meanwhile
        if lives != list(known):
            self._desks = {live.job: known.get(live) or Desk.of(live) for live in lives}
        for live in lives:
            if live.again > live.anew:
                self._desks[live.job] = self._anew(live)
        return list(self._desks.values())

    def _anew(self, live: Live) -> Desk:
        """The desk of a job of which nothing counts as said: all that is in the spool is to be published."""
        _, waiting, _ = self._store.sizes(live.number)
        with self._board.changed:
            live.anew, live.published, live.next, live.waiting = live.again, 0, 0, waiting
            live.announced = live.closed = False
            live.unsettled.clear()
            live.retired.clear()  # that the first of them speaks once more tells the aggregator of it
        return Desk.of(live)

    def _prepared(self, desk: Desk) -> bool:
        """Whether the job may publish now: it is not backing off, and its judges' queues are declared."""
        if self._clock.monotonic() < desk.again_at:
            return False
        judges = set(desk.live.spec.judge_names)
        if not self._settings.declare or judges <= self._declared:
            return True
        try:
            self._broker.declare(topology(self._settings.names, sorted(judges)))
        except BrokerError as error:
            self._courier.back_off(desk, error)
            return False
        self._declared |= judges
        return True

    def _announce(self, desk: Desk) -> bool:
        live = desk.live
        if desk.opened:
            return False
        desk.opened = True
        data = {"spec": live.spec.plain(), "digest": live.digest, "opened": live.opened}
        self._courier.publish(self._messages.event(JOB_OPENED, live.job, data), desk, (), OPENED)
        return True

    def _close(self, desk: Desk) -> bool:
        """Say that the job is sealed or cancelled, once all before it is confirmed."""
        live = desk.live
        if not desk.may_close:
            return False
        row = self._store.job(live.job)
        if row.state != live.state or row.suites > live.suites:
            self._board.moved(row)
            return True
        desk.told = row.state
        data = {"tasks": row.tasks, "suites": row.suites}
        if row.state == "cancelled":
            message = self._messages.event(JOB_CANCELLED, live.job, {"reason": row.reason or "", **data})
        else:
            message = self._messages.event(JOB_SEALED, live.job, data)
        self._courier.publish(message, desk, (), CLOSED)
        return True

    # -- suites --------------------------------------------------------------------------------------------------------

    def _publish_suites(self, desks: Sequence[Desk]) -> bool:
        by_job = {desk.live.job: desk for desk in desks}
        with self._board.changed:
            ready = {job: self._window.room(desk.live) for job, desk in by_job.items() if not desk.failed}
        order = turns(ready, self._last, ROUND)
        loaded, away = self._load(by_job, Counter(order))
        # whatever stops this half-way, what is not sent stays on its desk and is sent by the next round
        spans, told = tracing.spans, set[str]()
        for job in order:
            if suites := loaded.get(job):
                suite, desk = suites[0], by_job[job]
                self._last = job
                span = None if spans is None else spans.publishing(job, suite.suite, desk.live.opened, suite.count)
                self._send(desk, suite, [slot for slot in desk.slots if slot in desk.failed.get(suite.suite, ())])
                if span is not None:
                    span.end()
                if job not in told:
                    # Behind one suite, which need not wait until the broker has synced the news, and before the others:
                    # the aggregator takes any order, but has more work with judgments of which it had no news.
                    told.add(job)
                    self._news(desk, suites)
                suites.popleft()
        if away is not None:
            raise away
        return bool(loaded)

    def _load(
        self, desks: Mapping[str, Desk], counts: Mapping[str, int]
    ) -> tuple[dict[str, deque[Spooled]], StoreUnavailable | None]:
        """The next suites of each job, noted on its desk as to be sent; and the error of a store that went away."""
        loaded: dict[str, deque[Spooled]] = {}
        for job, count in counts.items():
            desk = desks[job]
            try:
                suites = self._window.take(desk.live, count)
            except StoreUnavailable as error:
                return loaded, error
            except Exception as error:  # noqa: BLE001  one job's rows that cannot be read hold up no other job
                _log.exception("suites not read", job=job)
                self._courier.back_off(desk, error)
                continue
            slots = [] if desk.live.over else desk.slots
            for suite in suites:
                desk.take(suite.suite, slots if suite.payloads else ())
            loaded[job] = deque(suites)
        return loaded, None

    def _news(self, desk: Desk, suites: Sequence[Spooled]) -> None:
        total = None
        if desk.live.state == "sealed" and desk.live.spec.affordable is not None and desk.live.spec.cascades:
            # before the last suite is out: of a budget the aggregator keeps back what the others' first stage will cost
            total = self._store.job(desk.live.job).tasks
        for message, numbers in self._messages.opened(desk.live.job, suites, total):
            self._courier.publish(message, desk, numbers, NEWS)
            desk.sent(numbers, NEWS)

    def _send(self, desk: Desk, suite: Spooled, slots: Sequence[Slot]) -> None:
        live, positions = desk.live, suite.positions
        headers = tracing.spans.headers(live.job, suite.suite, live.opened) if tracing.spans is not None else {}
        for judge, slot in slots:
            try:
                message = self._messages.suite(
                    live.job, suite.suite, judge, slot, positions, suite.payloads,
                    spec=live.spec, digest=live.digest, opened=live.opened, now=self._clock.now(),
                    headers=headers,
                )  # fmt: skip
            except TooLarge as error:  # the body limit was lowered since it was cut
                reason = f"suite {suite.suite} is too large: {error.detail}"
                _log.error("job cancelled", job=live.job, reason=reason)
                self._board.moved(self._store.end(live.job, "cancelled", reason))
                continue
            self._courier.publish(message, desk, (suite.suite,), (judge, slot))
            desk.sent((suite.suite,), (judge, slot))

    def _again(self, desk: Desk) -> bool:
        """Publish what failed or was not sent, unless its suite is settled by now or its job is over."""
        if not desk.failed:
            return False
        numbers = list(desk.failed)[:ROUND]
        rows = self._store.suites(desk.live.number, numbers)
        news: list[Spooled] = []
        for number in numbers:
            suite = rows.get(number)
            if suite is None:
                desk.failed.pop(number)
                desk.pending.pop(number, None)
                continue
            if NEWS in desk.failed[number]:
                news.append(suite)
            slots = sorted(desk.failed[number] - {NEWS})
            if not desk.live.over:
                self._send(desk, suite, slots)
                continue
            for slot in slots:
                desk.sent((number,), slot)
            desk.done(number, len(slots))
        self._news(desk, news)
        return True
