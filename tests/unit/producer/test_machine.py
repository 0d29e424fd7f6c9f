"""The producer as a state machine: cut, published, confirmed, failed, settled, crashed, in any order."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from shutil import copytree, rmtree
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from manyhands.broker import Delivery, Outgoing
from manyhands.codec import decode, encode
from manyhands.errors import BrokerError, BrokerUnavailable, Refused, Unroutable
from manyhands.messages import (
    JOB_CANCELLED,
    JOB_COMPLETED,
    JOB_OPENED,
    JOB_SEALED,
    SUITE_ESCALATED,
    SUITES_OPENED,
    SUITES_SETTLED,
    Event,
    Suite,
)
from manyhands.runner import Outcome
from tests.unit.producer.support import Bench, HeldPublisher, job_spec

#: Slots of each suite, and what stands for the news of it.
SLOTS, NEWS = 2, -1
#: Seconds after which every back-off is over.
LATER = 60.0


@cache
def _empty() -> Path:
    """A folder with a store that is migrated: to be copied, since that is quicker than to migrate each."""
    folder = Path(tempfile.mkdtemp(prefix="manyhands-"))
    Bench(folder).store.close()
    return folder


def read(message: Outgoing) -> Suite | Event:
    """A message on its way."""
    found = decode(message.body, message.type, message.content_encoding)
    assert isinstance(found, (Suite, Event))
    return found


class Producer(RuleBasedStateMachine):
    """A job that tasks are pushed to."""

    @initialize(in_flight=st.integers(1, 5), durable=st.booleans(), first=st.integers(0, 15))
    def begin(self, in_flight: int, durable: bool, first: int) -> None:
        """A job with some tasks, the first of them published."""
        self.folder = Path(tempfile.mkdtemp(prefix="manyhands-"))
        copytree(_empty(), self.folder, dirs_exist_ok=True)
        self.in_flight, self.durable = in_flight, durable
        self.sizes: list[int] = []
        self.settled: set[int] = set()
        self.published: set[int] = set()
        #: what the broker has for certain: (suite, slot), and the names of the job's own events
        self.arrived: set[tuple[int, int] | str] = set()
        self.process()
        spec = job_spec(stages=[{"judges": [{"j": SLOTS}]}], in_flight=in_flight)
        self.job = self.bench.requests.submit(spec)
        self.cut(first)
        self.publish(0.0)

    def process(self) -> None:
        """A process that starts on the store there is."""
        self.publisher = HeldPublisher()
        self.bench = Bench(self.folder, self.publisher, durable=self.durable)

    @property
    def row(self) -> Any:
        """The job as the store has it."""
        return self.bench.store.job(self.job)

    @property
    def spooled(self) -> set[int]:
        """The suites in the spool."""
        return self.bench.store.unsettled(self.row.number, len(self.sizes))

    # -- what may happen -----------------------------------------------------------------------------------------------

    @rule(count=st.integers(1, 5))
    @precondition(lambda self: self.row.state == "open")
    def cut(self, count: int) -> None:
        """Tasks are pushed."""
        self.bench.requests.push(self.job, [{"payload": n} for n in range(count)])
        self.sizes += [2] * (count // 2) + [1] * (count % 2)

    @rule(how=st.sampled_from(["seal", "seal", "cancel"]))
    def close(self, how: str) -> None:
        """Somebody says that no more tasks come, or that it is enough."""
        getattr(self.bench.requests, how)(self.job)

    @rule(seconds=st.sampled_from([0.0, 0.0, 1.0, LATER]))
    def publish(self, seconds: float) -> None:
        """The publisher's thread has a round, at once or later."""
        self.bench.clock.turn(seconds)
        row, before = self.row, len(self.publisher.published)
        self.bench.pump.round()
        self.look(self.publisher.published[before:], over=row.state in ("cancelled", "ended"))

    def look(self, sent: Sequence[Outgoing], *, over: bool) -> None:
        """What was published is wanted: it was not settled before, and a job's end follows the news of all suites."""
        for message in map(read, sent):
            if isinstance(message, Suite):
                assert message.suite not in self.settled
                assert not over
                self.published.add(message.suite)
            elif message.name in (JOB_SEALED, JOB_CANCELLED):
                assert JOB_OPENED in self.arrived
                assert {(s, NEWS) for s in range(len(self.sizes)) if s not in self.settled} <= self.arrived
                assert (message.data["tasks"], message.data["suites"]) == (sum(self.sizes), len(self.sizes))

    @rule(data=st.data(), error=st.sampled_from([None, None, None, BrokerUnavailable, Refused, Unroutable]))
    @precondition(lambda self: self.publisher.held)
    def confirm(self, data: st.DataObject, error: type[BrokerError] | None) -> None:
        """The broker has some of what was published, or says no, or is gone before it says anything."""
        held = self.publisher.held
        some = data.draw(st.just(range(len(held))) | st.sets(st.sampled_from(range(len(held))), min_size=1))
        chosen = [held[i][0] for i in some]
        if error is None:
            self.arrived.update(one for message in chosen for one in self.parts(message))
        self.publisher.confirm(
            lambda m: any(m is one for one in chosen), None if error is None else error("says the test")
        )

    @staticmethod
    def parts(outgoing: Outgoing) -> set[tuple[int, int] | str]:
        """What a message is of."""
        message = read(outgoing)
        if isinstance(message, Suite):
            return {(message.suite, message.slot)}
        if message.name == SUITES_OPENED:
            return {(suite, NEWS) for suite in message.data["suites"]}
        return {message.name}

    @rule(data=st.data(), twice=st.booleans())
    @precondition(lambda self: self.published)
    def settle(self, data: st.DataObject, twice: bool) -> None:
        """The aggregator says that suites are settled, perhaps before their confirm comes, or once more."""
        suites = data.draw(st.lists(st.sampled_from(sorted(self.published)), min_size=1, unique=True))
        self.hear(*[Event(name=SUITES_SETTLED, job=self.job, data={"suites": [*suites, 999]})] * (1 + twice))
        self.settled.update(suites)

    @rule(data=st.data())
    @precondition(lambda self: self.published)
    def escalate(self, data: st.DataObject) -> None:
        """The aggregator wants a task judged again; it may have changed its mind since."""
        suite = data.draw(st.sampled_from(sorted(self.published)))
        first = sum(self.sizes[:suite])
        asked = {"suite": suite, "stage": 0, "judge": "j", "slot": 1, "positions": [first], "attempt": 2}
        over = self.row.state in ("cancelled", "ended")
        wanted = suite in self.spooled and not over
        out = [read(m) for m in self.hear(Event(name=SUITE_ESCALATED, job=self.job, data=asked))]
        told = [(m.suite, list(m.positions), m.attempt) for m in out if isinstance(m, Suite)]
        assert told == ([(suite, [first], 2)] if wanted else [])

    @rule()
    @precondition(lambda self: self.row.state != "open")
    def overdue(self) -> None:
        """The aggregator has ended the job by its deadline, or because it was cancelled."""
        state = "cancelled" if self.row.state == "cancelled" else "partial"
        self.hear(Event(name=JOB_COMPLETED, job=self.job, data={"state": state, "tasks": sum(self.sizes)}))

    def hear(self, *events: Event) -> list[Outgoing]:
        """Events come; what goes out for them is confirmed."""
        encoded = [encode(event) for event in events]
        deliveries = [Delivery(queue="events.producer", key="k", body=e.body, type=e.type) for e in encoded]
        outcomes: list[Outcome] = []
        self.bench.events.handle(deliveries, outcomes.append)
        assert [d for o in outcomes for d in o.deliveries] == deliveries
        return [message for outcome in outcomes for message in outcome.publish]

    @rule()
    def crash(self) -> None:
        """The process ends, and another starts; a broker that is not durable ends with it."""
        self.bench.store.close()
        if not self.durable:
            self.arrived.clear()
        self.process()

    @rule()
    def republish(self) -> None:
        """The broker came back empty, and somebody says so."""
        if self.bench.requests.republish(self.job):
            self.arrived.clear()

    # -- what holds after every step -----------------------------------------------------------------------------------

    @invariant()
    def keeps(self) -> None:
        """Every unsettled suite is in the spool, until the job is over and the last was said of it."""
        row, wanted = self.row, set(range(len(self.sizes))) - self.settled
        if row.state in ("open", "sealed"):
            assert self.spooled == wanted
        elif row.closed:
            assert not self.spooled
        else:
            assert self.spooled >= {suite for suite in wanted if suite >= row.published}
        assert (row.suites, row.tasks) == (len(self.sizes), sum(self.sizes))
        assert row.state == "cancelled" or row.settled + len(self.spooled) == row.suites

    @invariant()
    def bounds(self) -> None:
        """No more suites than the window are published and not settled."""
        assert len(self.published - self.settled) <= self.in_flight

    @invariant()
    def notes(self) -> None:
        """What the store takes for published the broker has: whole suites, their news, and the job's own events."""
        row = self.row
        if row.state in ("cancelled", "ended"):
            return
        assert not row.announced or JOB_OPENED in self.arrived or not self.durable
        kept = self.spooled if self.durable else set()
        for suite in (s for s in kept if s < row.published):
            assert {(suite, slot) for slot in (NEWS, *range(SLOTS))} <= self.arrived

    # -- how it ends ---------------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        """With a broker that takes everything and an aggregator that settles it, all was said and nothing is left."""
        if not hasattr(self, "job"):
            return
        try:
            self.finish()
        finally:
            self.bench.store.close()
            rmtree(self.folder)

    def finish(self) -> None:
        """It is sealed, published, confirmed and settled."""
        self.bench.requests.seal(self.job)
        for _ in range(4 * len(self.sizes) + 10):
            self.publish(LATER)
            self.arrived.update(one for message, _ in self.publisher.held for one in self.parts(message))
            self.publisher.confirm()
            self.publish(LATER)
            self.keeps()
            self.bounds()
            self.notes()
            if self.row.state == "sealed":
                whole = {s for s in self.published if {(s, slot) for slot in (NEWS, *range(SLOTS))} <= self.arrived}
                self.hear(Event(name=SUITES_SETTLED, job=self.job, data={"suites": sorted(whole)}))
                self.settled |= whole
            if self.row.closed and not self.spooled:
                break
        row = self.row
        assert row.closed
        if row.state == "sealed":
            assert self.settled == set(range(len(self.sizes)))
            assert row.settled == row.suites == row.published
        assert not self.spooled
        assert (JOB_CANCELLED if row.state == "cancelled" else JOB_SEALED) in self.arrived or row.state == "ended"


TestProducer = Producer.TestCase
TestProducer.settings = settings(max_examples=15, stateful_step_count=25, deadline=None)
