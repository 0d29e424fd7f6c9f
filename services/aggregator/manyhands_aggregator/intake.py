"""Deliveries to the store: one transaction a batch, and what it leads to. Runs under ``manyhands.runner``.

What goes out is a function of what the store then holds, not of what has just changed: a message that comes twice
leads to the same messages out, so nothing needs an outbox.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa

from manyhands import logs, metrics
from manyhands.broker import Delivery, Outgoing
from manyhands.clock import Clock
from manyhands.codec import decode, encode
from manyhands.deadletters import Cause, raw_letter
from manyhands.errors import DecodeError
from manyhands.messages import JOB_COMPLETED, JOB_OPENED, SUITES_OPENED, SUITES_SETTLED, Event, Judgments
from manyhands.runner import Finish, Outcome
from manyhands.topology import Names
from manyhands_aggregator import deadfiles, jobs, judging, tables
from manyhands_aggregator.judging import Judged, Said
from manyhands_aggregator.suite import INVALID
from manyhands_service.store import Store

_log = logs.get(__name__)

#: Why judgments are set aside that nobody asked for.
STRANGER = "stranger"


@dataclass(slots=True)
class Batch:
    """Deliveries, decoded and sorted by what they are."""

    events: list[tuple[Event, Delivery]] = field(default_factory=list)
    judgments: list[Said] = field(default_factory=list)
    letters: list[Delivery] = field(default_factory=list)
    out: list[Outgoing] = field(default_factory=list)


@dataclass(slots=True)
class Result:
    """What a transaction leads to once it is committed."""

    out: list[Outgoing] = field(default_factory=list)
    judged: list[Judged] = field(default_factory=list)
    ended: list[Event] = field(default_factory=list)
    late: int = 0
    opened: bool = False


class Intake:
    """Takes in whatever the aggregator consumes."""

    def __init__(self, store: Store, names: Names, clock: Clock, on_commit: Callable[[], None] = lambda: None) -> None:
        self._store, self._names, self._clock, self._on_commit = store, names, clock, on_commit
        self._plans = jobs.Plans()
        self._dead = set(names.dead_queues)

    def handle(self, deliveries: list[Delivery], finish: Finish) -> None:
        """One transaction for all of them; then what it leads to is published, then they are acked.

        Raises:
            StoreUnavailable: nothing was taken in; the deliveries are to be handed back.
        """
        batch = self._sort(deliveries)
        metrics.BATCH_MESSAGES.observe(len(deliveries))
        result = self._store.write(lambda connection: self._take(connection, batch))
        self._on_commit()
        finish(Outcome(deliveries=deliveries, publish=[*batch.out, *result.out]))
        _count(result)
        for event in result.ended:
            _log.info("job ended", job=event.job, **event.data)

    def _sort(self, deliveries: Sequence[Delivery]) -> Batch:
        batch = Batch()
        for delivery in deliveries:
            if delivery.queue in self._dead:
                batch.letters.append(delivery)
                continue
            kind = "events" if delivery.queue == self._names.events_queue("aggregator") else "judgments"
            try:
                message = decode(delivery.body, delivery.type, delivery.content_encoding)
                if isinstance(message, Event) and kind == "events":
                    batch.events.append((message, delivery))
                elif isinstance(message, Judgments) and kind == "judgments":
                    batch.judgments.append(Said(message, delivery))
                else:
                    raise DecodeError(f"{delivery.type} has no place among the {kind}", delivery.body)
            except DecodeError as error:
                batch.out.append(self._set_aside(kind, delivery, "undecodable", str(error)))
        return batch

    def _set_aside(self, kind: str, delivery: Delivery, code: str, error: str) -> Outgoing:
        _log.warning("set aside", kind=kind, code=code, error=error)
        cause = Cause(code=code, error=error, at=self._clock.now())
        return raw_letter(self._names, kind, delivery, cause)

    def _take(self, connection: sa.Connection, batch: Batch) -> Result:
        result = Result()
        now = self._clock.now()
        touched: set[str] = set()
        for event, delivery in batch.events:
            try:
                self._event(connection, event, now, result)
                touched.add(event.job)
            except ValueError as error:
                result.out.append(self._set_aside("events", delivery, "invalid-event", str(error)))
        concluded = deadfiles.file(connection, batch.letters, now)
        by_job: dict[str, list[Said]] = defaultdict(list)
        for said in (*batch.judgments, *(Said(message, None) for message in concluded)):
            by_job[said.message.job].append(said)
        for job, messages in by_job.items():
            self._judgments(connection, job, messages, now, result)
            touched.add(job)
        result.ended = jobs.end_if_done(connection, touched, now)
        result.out.extend(self._event_out(event) for event in result.ended)
        return result

    def _event(self, connection: sa.Connection, event: Event, now: float, result: Result) -> None:
        opened = jobs.apply(connection, event, now)
        if event.name == SUITES_OPENED:
            result.opened = True
        if event.name not in (JOB_OPENED, SUITES_OPENED):
            return
        plan = self._plans.get(connection, event.job)
        if plan is None:
            return
        if event.name == JOB_OPENED:  # suites that were announced before their job
            opened = judging.open_suites(connection, event.job, only_announced_refusals=True)
        refused = judging.fully_refused(judging.load(connection, event.job, opened)) if opened else []
        if refused:
            judged = Judged(settled=[state.suite for state in refused])
            judging.settle(connection, event.job, plan, refused, judged)
            self._judged(event.job, judged, result)

    def _judgments(self, connection: sa.Connection, job: str, messages: list[Said], now: float, result: Result) -> None:
        plan = self._plans.get(connection, job)
        if plan is None:
            self._hold(connection, messages, now)
            return
        state = connection.scalar(sa.select(tables.jobs.c.state).where(tables.jobs.c.job == job))
        if state == "cancelled":
            result.late += len(messages)
            return
        judged = judging.judge(connection, job, plan, messages)
        self._hold(connection, judged.unknown, now)
        for said, why in judged.strangers:
            if said.delivery is not None:
                result.out.append(self._set_aside("judgments", said.delivery, STRANGER, why))
        for said, why in judged.invalid:
            if said.delivery is not None:
                result.out.append(self._set_aside("judgments", said.delivery, INVALID, why))
        self._judged(job, judged, result)

    def _judged(self, job: str, judged: Judged, result: Result) -> None:
        result.judged.append(judged)
        result.out.extend(self._event_out(event) for event in judged.escalated)
        if judged.settled:
            event = Event(name=SUITES_SETTLED, job=job, data={"suites": judged.settled})
            result.out.append(self._event_out(event))

    def _hold(self, connection: sa.Connection, messages: Sequence[Said], now: float) -> None:
        """Judgments that came before the news of their job or suite wait in the store."""
        rows = [
            {
                "first_seen": _seen(said.delivery, now), "key": said.delivery.key, "type": said.delivery.type,
                "encoding": said.delivery.content_encoding, "body": said.delivery.body,
            }
            for said in messages
            if said.delivery is not None
        ]  # fmt: skip
        if rows:
            connection.execute(sa.insert(tables.early), rows)

    def _event_out(self, event: Event) -> Outgoing:
        exchange, key = self._names.to_roles(event.name)
        encoded = encode(event)
        return Outgoing(
            exchange=exchange, key=key, body=encoded.body, type=encoded.type, content_encoding=encoded.content_encoding
        )


#: The header of held judgments that says when they were first seen.
FIRST_SEEN = "mh-first-seen"


def _seen(delivery: Delivery, now: float) -> float:
    try:
        return min(now, float(delivery.headers.get(FIRST_SEEN, now)))
    except (TypeError, ValueError):
        return now


def _count(result: Result) -> None:
    for judged in result.judged:
        metrics.JUDGMENTS.labels("kept").inc(judged.kept)
        metrics.JUDGMENTS.labels("duplicate").inc(judged.repeats)
        metrics.TASKS_SETTLED.labels("answered").inc(max(0, judged.answered))
        metrics.TASKS_SETTLED.labels("failed").inc(max(0, judged.failed))
        metrics.TIES.inc(judged.ties)
        for event in judged.escalated:
            metrics.ESCALATED.labels(event.data["reason"]).inc(len(event.data["positions"]))
    metrics.JUDGMENTS.labels("late").inc(result.late)
    for event in result.ended:
        if event.name == JOB_COMPLETED:
            metrics.JOBS_ENDED.labels(event.data["state"]).inc()
