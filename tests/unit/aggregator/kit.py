"""What the aggregator's tests are made of: messages of a small job, deliveries, an aggregator without any thread."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from manyhands.broker import Delivery, Outgoing
from manyhands.clock import Clock
from manyhands.codec import decode, encode
from manyhands.messages import (
    JOB_CANCELLED,
    JOB_OPENED,
    JOB_SEALED,
    SUITES_OPENED,
    Event,
    Failure,
    Judgments,
    Message,
    Suite,
)
from manyhands.runner import Outcome
from manyhands.testing import FakeClock, FakePublisher
from manyhands.topology import Names
from manyhands_aggregator import answers, ledger, reading
from manyhands_aggregator.answers import Block
from manyhands_aggregator.intake import Intake
from manyhands_aggregator.senders import ANYBODY, Senders
from manyhands_aggregator.upkeep import Upkeep
from manyhands_service.store import Store

NAMES = Names()
OPTIONS = ["a", "b", "c"]

_ids = itertools.count(1)


def open_store(url: str) -> Store:
    """A migrated store of the aggregator."""
    store = Store(url, "aggregator", "manyhands_aggregator")
    assert store.open(threading.Event())
    return store


def plain_spec(judges: Sequence[Any] = ("one",), **more: Any) -> dict[str, Any]:
    """A job file: a choice among a, b, c."""
    answer = {"type": "choice", "options": OPTIONS}
    return {"name": "letters", "answer": answer, "stages": [{"judges": list(judges)}], **more}


@dataclass
class Job:
    """The messages of one job of ``count`` tasks in suites of ``size``."""

    count: int = 6
    size: int = 2
    judges: Sequence[Any] = ("one",)
    more: Mapping[str, Any] = field(default_factory=dict)
    refused: Mapping[int, Failure] = field(default_factory=dict)
    ids: Sequence[str] | None = None
    truths: Sequence[Any] | None = None
    id: str = field(default_factory=lambda: f"letters-{next(_ids):08x}")

    @property
    def suites(self) -> int:
        """How many suites."""
        return -(-self.count // self.size)

    def positions(self, suite: int) -> range:
        """The positions of a suite."""
        return range(suite * self.size, min(self.count, (suite + 1) * self.size))

    def opened(self, at: float = 1_700_000_000.0) -> Event:
        """The job's opening."""
        spec = plain_spec(self.judges, suite=self.size, **self.more)
        return Event(name=JOB_OPENED, job=self.id, data={"spec": spec, "digest": "d", "opened": at})

    def announced(self, *suites: int) -> Event:
        """News of some suites, or of all."""
        numbers = list(suites) or list(range(self.suites))
        runs = [self.positions(s) for s in numbers]

        def cut(column: Sequence[Any] | None) -> list[Any]:
            return [None if column is None else [column[p] for p in run] for run in runs]

        refused = [
            {p: {"code": f.code, "message": f.message} for p, f in self.refused.items() if p in run} or None
            for run in runs
        ]
        data = {
            "suites": numbers, "firsts": [r.start for r in runs], "counts": [len(r) for r in runs],
            "ids": cut(self.ids), "truths": cut(self.truths), "refused": refused,
        }  # fmt: skip
        return Event(name=SUITES_OPENED, job=self.id, data=data)

    def sealed(self) -> Event:
        """Its total."""
        return Event(name=JOB_SEALED, job=self.id, data={"tasks": self.count, "suites": self.suites})

    def cancelled(self) -> Event:
        """Its end before its time."""
        data = {"reason": "enough", "tasks": self.count, "suites": self.suites}
        return Event(name=JOB_CANCELLED, job=self.id, data=data)

    def news(self) -> list[Event]:
        """All that the producer says of a job that runs to its end."""
        return [self.opened(), self.announced(), self.sealed()]

    def sent(self, suite: int) -> list[int]:
        """The positions of a suite that judges see."""
        return [p for p in self.positions(suite) if p not in self.refused]

    def judged(self, suite: int, value: Any = "a", *, judge: str = "one", slot: int = 0, **more: Any) -> Judgments:
        """What a judge says of a suite: the value for each task, or the values, a list."""
        positions = more.pop("positions", self.sent(suite))
        values = value if isinstance(value, list) else [value] * len(positions)
        more = {"stage": 0, "worker": "w", **more}
        return Judgments(
            job=self.id, suite=suite, judge=judge, slot=slot, version="1", positions=positions, values=values,
            started=1.0, finished=2.0, **more,
        )  # fmt: skip

    def failed(self, suite: int, *, judge: str = "one", code: str = "error", **more: Any) -> Judgments:
        """A judge's failure on a whole suite."""
        positions = more.pop("positions", self.sent(suite))
        errors = dict.fromkeys(positions, Failure(code=code, message="it broke"))
        return self.judged(suite, [None] * len(positions), judge=judge, positions=positions, errors=errors, **more)

    def suite(self, suite: int, *, judge: str = "one", slot: int = 0) -> Suite:
        """A suite as it goes to a judge."""
        positions = self.sent(suite)
        payloads = [f"task {p}" for p in positions]
        return Suite(job=self.id, suite=suite, stage=0, judge=judge, slot=slot, positions=positions, payloads=payloads)


def delivery(
    message: Message, queue: str | None = None, headers: Mapping[str, Any] | None = None, user: str | None = None
) -> Delivery:
    """A message as it arrives; of events and judgments the queue is known."""
    exchange, key = "", ""
    if isinstance(message, Event):
        exchange, key = NAMES.to_roles(message.name)
        queue = queue or NAMES.events_queue("aggregator")
    elif isinstance(message, Judgments):
        exchange, key = NAMES.to_aggregator(message.job, message.suite)
        queue = queue or NAMES.judgments_queue(int(key))
    assert queue is not None, exchange
    e = encode(message)
    return Delivery(
        queue=queue, key=key, body=e.body, type=e.type, content_encoding=e.content_encoding, headers=headers or {},
        user=user,
    )  # fmt: skip


def from_letter(letter: Outgoing) -> Delivery:
    """A dead letter as it arrives where dead letters are filed."""
    queue = NAMES.queue("dead." + letter.key.partition(".")[0])
    return Delivery(
        queue=queue, key=letter.key, body=letter.body, type=letter.type, content_encoding=letter.content_encoding,
        headers=letter.headers,
    )  # fmt: skip


class Bench:
    """An aggregator's parts over a store, worked by hand."""

    def __init__(
        self, store: Store, clock: Clock | None = None, hold: float = 60.0, senders: Senders = ANYBODY
    ) -> None:
        self.store = store
        self.clock = clock or FakeClock()
        self.publisher = FakePublisher()
        self.intake = Intake(store, NAMES, self.clock, senders=senders)
        self.upkeep = Upkeep(store, self.intake, self.publisher, NAMES, self.clock, hold)

    @property
    def fake_clock(self) -> FakeClock:
        """The clock, to be turned."""
        assert isinstance(self.clock, FakeClock)
        return self.clock

    def take(self, *messages: Message | Delivery) -> list[Outgoing]:
        """Take messages in as one batch; what goes out."""
        outcomes: list[Outcome] = []
        deliveries = [m if isinstance(m, Delivery) else delivery(m) for m in messages]
        self.intake.handle(deliveries, outcomes.append)
        finished = [d for outcome in outcomes for d in outcome.deliveries]
        assert finished == deliveries  # each is acked exactly once
        return [message for outcome in outcomes for message in outcome.publish]

    def judge(self, job: Job, said: Mapping[str, Sequence[Any]]) -> None:
        """Each judge says these values, one for every task of the job; None is a failure."""
        for judge, values in said.items():
            for suite in range(job.suites):
                run = job.positions(suite)
                right = [p for p in run if values[p] is not None]
                if right:
                    self.take(job.judged(suite, [values[p] for p in right], judge=judge, positions=right))
                if wrong := [p for p in run if values[p] is None]:
                    self.take(job.failed(suite, judge=judge, positions=wrong))

    def events(self, *messages: Message | Delivery) -> list[Event]:
        """Take messages in as one batch; the events that go out."""
        return said(self.take(*messages))

    def swept(self) -> list[Outgoing]:
        """One round of upkeep, of which every step must succeed; what goes out."""
        before = len(self.publisher.published)
        self.upkeep.round()
        assert self.upkeep._troubles == {}
        return self.publisher.published[before:]

    def progress(self, job: Job) -> dict[str, Any]:
        """How far the job is."""
        return self.store.read(lambda c: reading.progress(c, job.id, self.clock.now()))

    def state(self, job: Job) -> str:
        """The job's state."""
        return str(self.progress(job)["state"])

    def counts(self, job: Job) -> tuple[int, ...]:
        """Tasks: all, answered, failed, cancelled, open. The audit must agree."""
        self.audit(job)
        progress = self.progress(job)
        return tuple(progress[key] for key in ("tasks", "answered", "failed", "cancelled", "open"))

    def audit(self, job: Job) -> dict[str, Any]:
        """The audit, which must find everything in its place."""
        account = ledger.audit(self.store, job.id)
        assert account["difference"] == 0, account
        assert account["conserved"], account
        return account

    def answers(self, job: Job) -> Block:
        """All answers in one block."""
        whole = Block()
        for block in answers.blocks(self.store, job.id):
            for index, failure in block.errors.items():
                whole.errors[len(whole.positions) + index] = failure
            whole.positions += block.positions
            whole.ids += block.ids
            whole.values += block.values
            whole.confidences += block.confidences
            whole.counts += block.counts
            if block.stages is not None:
                whole.stages = (whole.stages or []) + block.stages
        return whole

    def codes(self, job: Job) -> dict[int, str]:
        """Why tasks failed, by position."""
        block = self.answers(job)
        return {block.positions[index]: failure.code for index, failure in block.errors.items()}


def said(messages: Iterable[Outgoing]) -> list[Event]:
    """The events among what goes out."""
    decoded = (decode(m.body, m.type, m.content_encoding) for m in messages if m.exchange == NAMES.exchange("events"))
    return [message for message in decoded if isinstance(message, Event)]


def letters(messages: Iterable[Outgoing]) -> list[Outgoing]:
    """The dead letters among what goes out."""
    return [m for m in messages if m.exchange == NAMES.exchange("dead")]
