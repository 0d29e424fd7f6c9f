"""A job at random, with all that goes on around it: its producer, judges that err and cost, people, upkeep, crashes.

A walk is made from a seed. What is on its way may come late, twice, in parts and in any order; nothing of it is lost.
"""

from __future__ import annotations

import contextlib
import random
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import sqlalchemy as sa

from manyhands.broker import Delivery, Outgoing
from manyhands.codec import decode
from manyhands.deadletters import Cause, suite_letter
from manyhands.errors import BrokerUnavailable
from manyhands.messages import Event, Failure, Judgments, Suite
from manyhands.spec import PEOPLE
from manyhands.testing import FakeClock
from manyhands_aggregator import tables, workers
from manyhands_aggregator.oversight import GRACE
from manyhands_aggregator.plan import Plan
from manyhands_aggregator.ratings import TOLD
from tests.unit.aggregator.drawn import Producer, drawn, spec_of
from tests.unit.aggregator.kit import NAMES, Bench, delivery, from_letter, letters, open_store, said
from tests.unit.aggregator.laws import Laws

PERSONS = ("ann", "bob", "cy", "dee", "eve", "flo", "gus")
#: What the clock is turned by before upkeep: nothing, until workers are rated again, until ratings are left by others.
TURNS = (0.0, 3.0, 3.0, GRACE + 1)

#: How often it is looked at whether all holds.
LOOK = 0.1


class Walk:
    """One job on its way; ``ever`` is all that came, in the order in which it came first."""

    def __init__(self, folder: Path, seed: int, empty: Path) -> None:
        self.chance = random.Random(seed)
        self.seed = seed
        self.job = drawn(self.chance)
        self.spec = spec_of(self.job)
        self.url = f"sqlite:///{folder / 'test.db'}"
        shutil.copytree(empty, folder, dirs_exist_ok=True)
        self.clock = FakeClock()
        self.store = open_store(self.url)
        self.hold = 60.0 if self.chance.random() < 0.2 else 1e9
        self.bench = Bench(self.store, self.clock, self.hold)
        self.producer = Producer(self.job, self.spec)
        self.faults = [self.chance.choice([0.0, 0.1, 0.3]) for _ in range(3)]  # errors, invalid values, letters
        self.dear = self.chance.choice([0.0, 0.0, 1.0, 3.0])
        self.laws = Laws(self.store, self.job, Plan.of(self.spec), dear=self.dear > 0)
        self.arriving: list[Delivery] = [delivery(self.job.opened())]
        self.asked: list[Suite] = []
        self.told: list[Event] = []
        self.ever: list[Delivery] = []
        self.verdicts: dict[str, str | None] = {}
        self.calm = False
        self.log: list[str] = []

    def note(self, *what: object) -> None:
        """Keep what happens, to be read where something does not hold."""
        self.log.append(" ".join(map(str, what)))

    # -- what may happen -----------------------------------------------------------------------------------------------

    def run(self, steps: int) -> None:
        """Walk, then let everything come that is on its way; at each step all that is to hold must hold."""
        cancels = self.chance.random() < 0.1
        kinds = {
            self.publish: 6, self.deliver: 14, self.judge: 12, self.tell: 10, self.upkeep: 3, self.rate: 3,
            self.restart: 1, self.producer.restart: 0.2, self.seal: 1,
        }  # fmt: skip
        if cancels:
            kinds[self.cancel] = 0.3
        with self.rating():
            for _ in range(steps):
                self.chance.choices(list(kinds), list(kinds.values()))[0]()
                if self.chance.random() < LOOK:
                    self.laws.hold(self.bench)
            self.finish()

    def publish(self) -> None:
        """A suite goes out; the news of it may come later than what judges say."""
        if self.producer.room:
            news, suites = self.producer.publish()
            self.note("publish", news.data["suites"], [(s.judge, s.slot) for s in suites])
            self.arriving.append(delivery(news))
            self.asked += suites

    def seal(self) -> None:
        """The total is known, once every suite is out."""
        if self.producer.next == self.job.suites and not self.producer.sealed:
            self.producer.sealed = True
            self.arriving.append(delivery(self.job.sealed()))

    def cancel(self) -> None:
        """Somebody has enough."""
        if not self.producer.sealed:
            self.producer.sealed = True
            self.arriving.append(delivery(self.job.cancelled()))

    def judge(self) -> None:
        """Somebody judges a suite, or the broker gives up on it."""
        if not self.asked:
            return
        suite = self.asked.pop(self.chance.randrange(len(self.asked)))
        if not self.calm and self.chance.random() < 0.05:
            self.asked.append(suite)  # it will be judged twice
        if self.chance.random() < self.faults[2] / 3:
            letter = suite_letter(NAMES, suite, Cause(code="torn", error="it is torn", at=1.0))
            self.arriving.append(from_letter(letter))
        else:
            self.arriving += [delivery(one) for one in self.judgments(suite)]

    def deliver(self) -> None:
        """Some of what is on its way comes; the process may end before it has said what that leads to."""
        batch: list[Delivery] = []
        for _ in range(min(self.chance.randint(1, 4), len(self.arriving))):
            batch.append(self.arriving.pop(self.chance.randrange(len(self.arriving))))
        if not batch:
            return
        self.note("deliver", [_short(one) for one in batch])
        self.ever += [one for one in batch if one not in self.ever]
        out = self.bench.take(*batch)
        if not self.calm and self.chance.random() < 0.1:
            self.note("crash")
            self.arriving += [replace(one, redelivered=True) for one in batch]
            self.restart()
            return
        if not self.calm and self.chance.random() < 0.2:
            self.arriving.append(self.chance.choice(self.ever))
        self.hear(out)

    def tell(self) -> None:
        """The producer hears something."""
        if self.told:
            event = self.told.pop(self.chance.randrange(len(self.told)))
            if not self.calm and self.chance.random() < 0.1:
                self.told.append(event)
            self.asked += self.producer.hear(event)

    def upkeep(self, turn: float | None = None) -> None:
        """A round of upkeep, for which the broker may be away."""
        turn = self.chance.choice(TURNS) if turn is None else turn
        self.clock.turn(turn)
        before = len(self.bench.publisher.published)
        if not self.calm and self.chance.random() < 0.2:
            self.bench.publisher._errors = [None] * self.chance.randint(0, 2) + [BrokerUnavailable("away")]
        self.note("upkeep", turn, self.bench.publisher._errors)
        if not self.calm and self.chance.random() < 0.1:
            self.killed()
            return
        self.bench.upkeep.round()
        self.bench.publisher._errors = []
        assert not self.calm or self.bench.upkeep._troubles == {}
        self.hear(self.bench.publisher.published[before:])

    def killed(self) -> None:
        """A round of upkeep that ends with its process, before anything of it is published; then there is another."""
        self.note("killed")
        with (
            mock.patch.object(self.bench.publisher, "publish", side_effect=KeyboardInterrupt),
            contextlib.suppress(KeyboardInterrupt),
        ):
            self.bench.upkeep.round()
        self.restart()

    def rate(self) -> None:
        """Somebody is found to be bad, or not so bad any more; the next round of upkeep acts on it, or this does."""
        first = [one.judge for one in self.spec.stages[0].judges]
        some = [name for name in (first if self.chance.random() < 0.6 else self.spec.judge_names) if name != PEOPLE]
        if not self.spec.quality:
            return
        worker = self.chance.choice(some or [f"{PEOPLE}/{who}" for who in PERSONS[:3]])
        self.verdicts[worker] = self.chance.choice(["pause", "retire", "retire", None, None, "warn"])
        self.note("rate", worker, self.verdicts[worker])
        if self.chance.random() < 0.7:
            self.upkeep(3.0)

    def restart(self) -> None:
        """Another process on the same store."""
        self.bench = Bench(self.store, self.clock, self.hold)

    @contextlib.contextmanager
    def rating(self) -> Iterator[None]:
        """Workers are found as good as the walk says."""

        def of_job(*_: Any, **__: Any) -> Any:
            nothing = dict.fromkeys(TOLD)
            rows: list[dict[str, Any]] = [
                {"worker": w, "action": a, "reasons": [], **nothing} for w, a in sorted(self.verdicts.items())
            ]
            return SimpleNamespace(ratings=lambda: rows)

        with mock.patch.object(workers, "of_job", of_job):
            yield

    def hear(self, out: Iterable[Outgoing]) -> None:
        """What the aggregator says is on its way."""
        out = list(out)
        self.told += said(out)
        for event in said(out):
            self.note("  says", event.name, {k: v for k, v in event.data.items() if k not in TOLD})
        self.arriving += map(from_letter, letters(out))

    # -- what judges say -----------------------------------------------------------------------------------------------

    def judgments(self, suite: Suite) -> list[Judgments]:
        """What is said of a suite: by a machine always the same, by people each some of it, who see a task once."""
        parts: dict[str, list[int]] = {}
        for position in suite.positions:
            who = "w"
            if suite.judge == PEOPLE:
                who = self.chance.choice(PERSONS)
            elif self.chance.random() < 0.1:
                who = "v"  # the rest of it comes by itself
            parts.setdefault(who, []).append(position)
        return [self.judged(suite, who, positions) for who, positions in parts.items()]

    def judged(self, suite: Suite, worker: str, positions: list[int]) -> Judgments:
        """What a worker says of some tasks."""
        says = random.Random(f"{self.seed}/{suite.stage}/{suite.judge}/{suite.slot}/{suite.attempt}/{worker}")
        price = next(j.price for j in self.spec.stages[suite.stage].judges if j.judge == suite.judge)
        values: list[Any] = []
        costs: list[float | None] = []
        errors: dict[int, Failure] = {}
        for position in positions:
            says.seed(f"{self.seed}/{suite.stage}/{suite.judge}/{suite.slot}/{suite.attempt}/{worker}/{position}")
            values.append("?" if says.random() < self.faults[1] else says.choice("aaab"))
            if says.random() < self.faults[0]:
                values[-1] = None
                errors[position] = Failure(code="error", message="m")
            dear = self.dear and suite.judge != PEOPLE and says.random() < 0.5
            costs.append(says.choice([0.0, 0.25, price, 1.0]) * self.dear if dear else None)
        return self.job.judged(
            suite.suite, values, judge=suite.judge, slot=suite.slot, stage=suite.stage, attempt=suite.attempt,
            positions=positions, errors=errors, worker=worker,
            costs=costs if any(cost is not None for cost in costs) else None,
        )  # fmt: skip

    # -- how it ends ---------------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Everything comes that is on its way, and upkeep has its rounds: the job has ended; repeats change nothing."""
        self.calm = True
        for _ in range(400):
            if not (self.arriving or self.asked or self.told or self.producer.room):
                quiet = self.state()
                for _ in range(4):
                    self.clock.turn(GRACE + 1)
                    self.upkeep()
                if not (self.arriving or self.asked or self.told or self.producer.room) and self.state() == quiet:
                    if self.producer.sealed or self.producer.next < self.job.suites:
                        break
                    self.seal()
            while self.arriving:
                self.deliver()
            while self.told:
                self.tell()
            while self.asked:
                self.judge()
            while self.producer.room:
                self.publish()
            self.laws.hold(self.bench)
        self.laws.hold(self.bench)
        assert self.bench.state(self.job) != "open", "the job stands still"
        assert self.producer.end is not None
        assert self.producer.end["state"] == self.bench.state(self.job)
        before = self.state()
        for one in self.ever:
            self.bench.take(one)
        self.laws.hold(self.bench)
        after = self.state()
        assert after == before, f"a repeat has changed something: {before} {after}"

    def state(self) -> tuple[Any, ...]:
        """What may not change any more."""
        if not self.laws.known:
            return ()
        progress = self.bench.progress(self.job)
        block = self.bench.answers(self.job)
        sums = self.store.read(
            lambda c: c.execute(
                sa.select(tables.ledger.c.worker, sa.func.sum(tables.ledger.c.amount)).group_by(tables.ledger.c.worker)
            ).all()
        )
        keys = ("state", "reason", "tasks", "answered", "failed", "cancelled", "open", "judgments", "spent")
        return (
            {key: progress.get(key) for key in keys},
            block.values,
            block.counts,
            self.bench.codes(self.job),
            sorted(map(tuple, sums)),
        )


def _short(one: Delivery) -> str:
    """A message in a few words."""
    message, again = decode(one.body, one.type, one.content_encoding), "!" if one.redelivered else ""
    if isinstance(message, Event):
        return f"{message.name}{message.data.get('suites', '')}{again}"
    who = f"{message.suite}:{message.stage}/{message.judge}/{message.slot} #{message.attempt}{again}"
    if isinstance(message, Suite):
        return f"letter {who} {list(message.positions)}"
    return f"{who} {message.worker} {dict(zip(message.positions, message.values, strict=True))} {message.costs or ''}"
