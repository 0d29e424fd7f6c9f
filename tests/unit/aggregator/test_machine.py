"""The aggregator as a state machine: whatever comes, each task is in one account, and the answers are the model's.

Each example has a store of its own, on SQLite, and loses its process now and then.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import msgpack
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, precondition, rule

from manyhands.broker import Delivery, Outgoing
from manyhands.codec import decode
from manyhands.messages import JOB_COMPLETED, SUITE_ESCALATED, SUITES_SETTLED, Event, Failure, Judgments, Suite
from manyhands.runner import Outcome
from manyhands_aggregator import deadlist, jobs
from manyhands_aggregator import replay as resend
from tests.unit.aggregator.kit import NAMES, OPTIONS, Bench, Job, delivery, from_letter, letters, open_store, said
from tests.unit.aggregator.model import Model

HOLD, DEADLINE, ATTEMPTS = 60.0, 1000.0, 2
SLOTS = [("one", 0), ("two", 0), ("two", 1)]
JUDGES = ["one", {"two": 2}]
#: What a judge may say of a task: an answer, none, or that it failed.
FATES = st.sampled_from([*OPTIONS, *OPTIONS, "?", "failed"])


@cache
def _empty() -> Path:
    """A store that is migrated: to be copied, since that is quicker than to migrate each."""
    folder = Path(tempfile.mkdtemp(prefix="manyhands-"))
    open_store(f"sqlite:///{folder / 'test.db'}").close()
    return folder


class Aggregator(RuleBasedStateMachine):
    """A job of one to six tasks, and everything that may be said of it."""

    sent = Bundle("sent")

    @initialize(count=st.integers(1, 6), refused=st.sets(st.integers(0, 5), max_size=2), known=st.booleans())
    def begin(self, count: int, refused: set[int], known: bool) -> None:
        """A job that nobody has heard of, or one of which all is told and one slot of a suite has spoken."""
        failures = {p: Failure(code="too-large", message="m") for p in refused if p < count}
        more = {"max_attempts": ATTEMPTS, "deadline": DEADLINE}
        self.job = Job(count=count, size=2, judges=JUDGES, refused=failures, more=more)
        self.folder = Path(tempfile.mkdtemp(prefix="manyhands-"))
        shutil.copytree(_empty(), self.folder, dirs_exist_ok=True)
        self.bench = self.process()
        opened = self.job.opened().data["opened"]
        self.model = Model(self.job, SLOTS, ATTEMPTS, opened + DEADLINE, HOLD)
        self.messages: list[Delivery] = []
        self.letters: list[Delivery] = []
        self.again: list[Judgments] = []
        self.told: set[int] = set()
        self.end: dict[str, Any] | None = None
        #: whether something was committed and not published: its messages come again
        self.unsaid: list[Delivery] = []
        if known:
            self.arrive([delivery(message) for message in self.job.news()])
            if self.job.sent(0):
                self.arrive([delivery(self.job.judged(0))])

    def process(self) -> Bench:
        """A process that starts on the store there is."""
        before: Bench | None = getattr(self, "bench", None)
        clock = None if before is None else before.clock
        bench = Bench(open_store(f"sqlite:///{self.folder / 'test.db'}"), clock, HOLD)
        if before is not None:
            before.store.close()
        return bench

    # -- what may be said ----------------------------------------------------------------------------------------------

    def say(self, message: Event | Judgments | Suite, queue: str | None = None, **changes: Any) -> Delivery:
        """A message on its way; it comes once at least."""
        made = replace(delivery(message, queue), **changes)
        self.messages.append(made)
        return made

    @rule(target=sent, which=st.sampled_from(["opened", "sealed", "opened", "sealed", "cancelled"]))
    def event(self, which: str) -> Delivery:
        """The producer says that the job is open, sealed, or cancelled."""
        message: Event = getattr(self.job, which)()
        return self.say(message)

    @rule(target=sent, data=st.data())
    def announce(self, data: st.DataObject) -> Delivery:
        """The producer has cut suites: some, or all."""
        every = range(self.job.suites)
        some = data.draw(st.lists(st.sampled_from(every), min_size=1, unique=True) | st.just(list(every)))
        return self.say(self.job.announced(*some))

    @rule(
        target=sent,
        data=st.data(),
        attempt=st.integers(1, ATTEMPTS),
        how=st.sampled_from(["", "", "strange", "spoiled"]),
    )
    def judge(self, data: st.DataObject, attempt: int, how: str) -> Delivery:
        """A slot speaks of a suite: all of it or a part, sensibly or not, once more or for the first time."""
        suite = data.draw(st.sampled_from(range(self.job.suites)))
        judge, slot = data.draw(st.sampled_from([*SLOTS, *SLOTS, ("two", 2)]))
        positions = self.job.sent(suite) or list(self.job.positions(suite))
        positions = data.draw(st.just(positions) | st.lists(st.sampled_from(positions), min_size=1, unique=True))
        fates = [data.draw(FATES) for _ in positions]
        if how == "strange":
            positions, fates = [*positions, 999], [*fates, "a"]
        message = self.judgments(suite, judge, slot, positions, fates, attempt)
        if how != "spoiled":
            return self.say(message)
        columns = msgpack.unpackb(delivery(message).body, strict_map_key=False)
        return self.say(message, body=msgpack.packb({**columns, "worker": 7}))

    def judgments(
        self, suite: int, judge: str, slot: int, positions: Sequence[int], fates: Sequence[str], attempt: int
    ) -> Judgments:
        """What a slot says: a value for each position, or that it failed."""
        failed = [p for p, fate in zip(positions, fates, strict=True) if fate == "failed"]
        values = [None if fate == "failed" else fate for fate in fates]
        errors = dict.fromkeys(failed, Failure(code="error", message="m"))
        return self.job.judged(
            suite, values, judge=judge, slot=slot, positions=list(positions), errors=errors, attempt=attempt
        )

    @rule(target=sent, data=st.data())
    @precondition(lambda self: self.again)
    def judge_again(self, data: st.DataObject) -> Delivery:
        """What was escalated is judged once more."""
        wanted = self.again.pop(data.draw(st.sampled_from(range(len(self.again)))))
        fates = [data.draw(FATES) for _ in wanted.positions]
        return self.say(
            self.judgments(wanted.suite, wanted.judge, wanted.slot, wanted.positions, fates, wanted.attempt)
        )

    @rule(data=st.data(), queue=st.sampled_from(["dead.tasks", "dead.unrouted"]))
    def give_up(self, data: st.DataObject, queue: str) -> None:
        """The broker sets a suite aside of which nobody has said anything."""
        suite = data.draw(st.sampled_from(range(self.job.suites)))
        judge, slot = data.draw(st.sampled_from(SLOTS))
        if self.job.sent(suite):
            made = delivery(self.job.suite(suite, judge=judge, slot=slot), NAMES.queue(queue))
            self.letters.append(replace(made, key=judge))

    # -- what may happen -----------------------------------------------------------------------------------------------

    @rule(batch=st.lists(sent, min_size=1, max_size=4))
    def take(self, batch: list[Delivery]) -> None:
        """Messages come: in any order, any number of times, some together."""
        self.arrive(batch)

    @rule(batch=st.lists(sent, min_size=1, max_size=3))
    def crash(self, batch: list[Delivery]) -> None:
        """They are committed, and the process ends before anything of it is published: they come again."""
        self.tick()
        taken: list[Outcome] = []
        self.bench.intake.handle(list(batch), taken.append)
        self.model.take(batch, self.bench.clock.now())
        self.unsaid += batch
        self.bench = self.process()

    @rule()
    def restart(self) -> None:
        """Another process on the same store."""
        self.bench = self.process()

    @rule()
    @precondition(lambda self: self.unsaid)
    def come_again(self) -> None:
        """What was not acknowledged is delivered again."""
        batch, self.unsaid = self.unsaid, []
        self.arrive(batch)

    @rule(data=st.data(), repeated=st.booleans())
    @precondition(lambda self: self.letters)
    def file(self, data: st.DataObject, repeated: bool) -> None:
        """A dead letter is filed, and may come once more."""
        at = data.draw(st.sampled_from(range(len(self.letters))))
        letter = self.letters[at] if repeated else self.letters.pop(at)
        self.arrive([letter])

    @rule(seconds=st.sampled_from([0.0, 0.0, HOLD / 2, HOLD + 1, DEADLINE]))
    def sweep(self, seconds: float) -> None:
        """Time passes, and upkeep has its round."""
        self.bench.fake_clock.turn(seconds)
        self.tick()
        self.model.sweep(self.bench.clock.now())
        self.hear(self.bench.swept())

    @rule(data=st.data(), value=st.sampled_from(OPTIONS))
    def replay(self, data: st.DataObject, value: str) -> None:
        """A dead letter is sent out again, and taken from the file; a judge has an answer this time."""
        store, which = self.bench.store, deadlist.Which(job=self.job.id)
        found = store.read(lambda c: deadlist.ids(c, which, after="", limit=100))
        if not found:
            return
        letter = data.draw(st.sampled_from(found))
        sent = store.read(lambda c: resend.outgoing(c, NAMES, letter, self.bench.clock.now()))
        assert sent is not None
        message, times = sent
        store.write(lambda c: resend.drop(c, {letter: times}))
        replayed = Delivery(
            queue=NAMES.judgments_queue(0), key=message.key, body=message.body, type=message.type,
            content_encoding=message.content_encoding,
        )  # fmt: skip
        if message.type == "suite.v1":
            suite = decode(message.body, message.type, message.content_encoding)
            assert isinstance(suite, Suite)
            fates = [value] * len(suite.positions)
            answer = self.judgments(suite.suite, suite.judge, suite.slot, suite.positions, fates, suite.attempt)
            replayed = delivery(answer)
        self.messages.append(replayed)
        self.arrive([replayed])

    def arrive(self, batch: Sequence[Delivery]) -> None:
        """A batch is taken in, published and acknowledged."""
        self.tick()
        self.model.take(batch, self.bench.clock.now())
        self.messages = [m for m in self.messages if m not in batch]
        self.unsaid = [m for m in self.unsaid if m not in batch]
        self.hear(self.bench.take(*batch))

    def tick(self) -> None:
        """No two things happen at the same moment."""
        self.bench.fake_clock.turn(0.001)

    def hear(self, out: Sequence[Outgoing]) -> None:
        """What the aggregator says."""
        self.letters += map(from_letter, letters(out))
        for event in said(out):
            if event.name == SUITES_SETTLED:
                self.told.update(event.data["suites"])
            elif event.name == JOB_COMPLETED:
                self.end = dict(event.data)
            elif event.name == SUITE_ESCALATED:
                d = event.data
                self.again.append(
                    self.job.judged(
                        d["suite"],
                        None,
                        judge=d["judge"],
                        slot=d["slot"],
                        positions=d["positions"],
                        attempt=d["attempt"],
                    )
                )

    # -- what holds after every step -----------------------------------------------------------------------------------

    @property
    def heard(self) -> bool:
        """Whether the aggregator has any news of the job."""
        return bool(self.bench.store.read(lambda c: jobs.states(c, [self.job.id])))

    @invariant()
    def conserves(self) -> None:
        """Tasks = answered + failed + cancelled + open: by the account, by the rows, and by the model."""
        if self.heard:
            progress = self.bench.progress(self.job)
            assert self.bench.counts(self.job) == self.model.counts  # audits the rows as well
            assert progress["tasks"] == sum(progress[key] for key in ("answered", "failed", "cancelled", "open"))
            assert progress["state"] == self.model.state
            assert progress["judgments"] == self.model.judgments

    @invariant()
    def answers(self) -> None:
        """Every answer is what the first values of its slots come to."""
        if not self.heard:
            return
        block, wanted = self.bench.answers(self.job), self.model.answers
        found: dict[int, tuple[str, float, int] | None] = {}
        for i, position in enumerate(block.positions):
            if i in block.errors:
                assert position in wanted or block.errors[i].code in ("cancelled", "deadline")
                found[position] = None
            else:
                found[position] = (block.values[i], block.confidences[i] or 0.0, block.counts[i])
        assert found == wanted | dict.fromkeys(found.keys() - wanted.keys())
        assert self.model.state == "open" or self.model.counts[4] == 0

    @invariant()
    def tells(self) -> None:
        """The producer was told of every suite that is settled, and of how the job ended."""
        if self.unsaid:
            return
        if self.model.state == "open":
            assert self.model.settled <= self.told
        elif self.end is not None:
            keys = ("tasks", "answered", "failed", "cancelled")
            assert (self.end["state"], *(self.end[k] for k in keys)) == (self.model.state, *self.model.counts[:4])

    # -- how it ends ---------------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        """When all has come that is to come, and every judge has spoken, the job has ended and the producer knows."""
        if not hasattr(self, "bench"):
            return
        try:
            self.finish()
        finally:
            self.bench.store.close()
            shutil.rmtree(self.folder)

    def finish(self) -> None:
        """All that is on its way comes, and what is escalated is answered."""
        every: list[Event | Judgments] = [*self.job.news()]
        every += [
            self.judgments(s, judge, slot, self.job.sent(s), ["a"] * len(self.job.sent(s)), 1)
            for s in range(self.job.suites)
            if self.job.sent(s)
            for judge, slot in SLOTS
        ]
        for message in every:
            self.say(message)
        while self.messages or self.unsaid or self.letters or self.again:
            for wanted in self.again:
                fates = ["b"] * len(wanted.positions)
                self.say(self.judgments(wanted.suite, wanted.judge, wanted.slot, wanted.positions, fates, ATTEMPTS))
            self.again = []
            for one in [*self.unsaid, *self.messages, *self.letters]:
                self.letters = [letter for letter in self.letters if letter is not one]
                self.arrive([one])
        self.sweep(0.0)
        assert self.model.state != "open"
        assert self.end is not None
        self.conserves()
        self.answers()
        self.tells()


TestAggregator = Aggregator.TestCase
TestAggregator.settings = settings(max_examples=20, stateful_step_count=25, deadline=None)
