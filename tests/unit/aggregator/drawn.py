"""Jobs at random, and a producer that follows what the aggregator says of them."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from manyhands.messages import JOB_COMPLETED, SUITE_ESCALATED, SUITES_SETTLED, WORKER_RATED, Event, Failure, Suite
from manyhands.spec import PEOPLE, JobSpec
from manyhands_producer.board import Live
from manyhands_producer.desk import Desk
from tests.unit.aggregator.kit import Job, plain_spec

#: Rules that act on nobody: who is out, the walk says.
QUIET: Mapping[str, Any] = {"warn": False, "pause": False, "retire": False}


def drawn(chance: random.Random) -> Job:
    """A job of one to three stages, with whatever a job file may say that bears on its course."""
    paid = chance.random() < 0.5
    quality = chance.random() < 0.6

    def judge(name: str, most: int) -> dict[str, Any]:
        price = chance.choice([0, 0.5, 1, 1, 2]) if paid and name != PEOPLE else 0
        return {"judge": name, "judgments": chance.randint(1, most), "price": price}

    def stage(number: int, last: bool) -> dict[str, Any]:
        names = chance.sample(
            ["svm", "forest", "tree", f"m{number}"], chance.choice([0, 1, 1, 2, 2, 3] if number else [0, 1, 2, 2, 3])
        )
        people = not names or chance.random() < (0.4 if number else 0.2)
        judges = [judge(name, 2 if chance.random() < 0.2 else 1) for name in names]
        judges += [judge(PEOPLE, 3)] if people else []
        given = sum(one["judgments"] for one in judges)
        at_most = given + chance.randint(0, 3)
        rule: dict[str, Any] = chance.choice(
            [{"agree": min(2, at_most)}, {"margin": min(2, at_most)}, {"agree": 1}, {"confidence": 0.9}]
        )
        if last or chance.random() < 0.5:
            rule = {**rule, "at_most": at_most}
        return {"judges": judges, **({} if last and chance.random() < 0.5 else {"accept": rule})}

    depth = chance.choice([1, 2, 2, 3])
    stages = [stage(number, number == depth - 1) for number in range(depth)]
    count = chance.choice([1, 2, 4, 8, 12])
    more: dict[str, Any] = {"stages": stages, "max_attempts": chance.randint(1, 3)}
    if chance.random() < 0.8:
        more["method"] = "majority"
    if quality:
        more["quality"] = QUIET
    if any(one["judge"] == PEOPLE for each in stages for one in each["judges"]) and chance.random() < 0.6:
        rewards: dict[str, Any] = {"judgment": 1}
        if chance.random() < 0.6:
            rewards["share"] = chance.choice([0.2, 0.3, 0.5, 0.9])
        if chance.random() < 0.3:
            rewards["agreement"] = 1
        if chance.random() < 0.3:
            rewards["per_job"] = chance.randint(2, 3 * count + 4)
        if chance.random() < 0.2:
            rewards["per_person"] = 2
        more["rewards"] = rewards
    if (paid or "rewards" in more) and chance.random() < 0.7:
        more["budget"] = chance.randint(1, 4 * count)
    if chance.random() < 0.15:
        more["deadline"] = 300
    more["in_flight"] = chance.randint(1, 3)
    truths = [chance.choice("abc") if chance.random() < 0.3 else None for _ in range(count)]
    refused = {p: Failure(code="bad-row", message="m") for p in range(count) if chance.random() < 0.1}
    size = chance.randint(1, 2)
    job = Job(count, size, more=more, refused=refused, truths=truths if chance.random() < 0.5 else None)
    affordable = spec_of(job).affordable
    sent = [p for p in range(count) if p not in refused]
    if affordable is not None:
        job.refused = {**refused, **dict.fromkeys(sent[affordable:], Failure(code="budget", message="m"))}
    return job


def spec_of(job: Job) -> JobSpec:
    """The job file."""
    return JobSpec.model_validate(plain_spec(job.judges, suite=job.size, **job.more))


@dataclass
class Producer:
    """What the job's producer does: suites go out as the window has room, and what it is told is followed."""

    job: Job
    spec: JobSpec
    next: int = 0
    out: set[int] = field(default_factory=set)
    settled: set[int] = field(default_factory=set)
    end: dict[str, Any] | None = None
    sealed: bool = False
    desk: Desk = field(init=False)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Another process: who is retired it has forgotten."""
        live = Live(
            number=1, job=self.job.id, spec=self.spec, digest="d", opened=0.0, state="open", reason=None,
            suites=self.job.suites, tasks=self.job.count, announced=True, closed=False, published=0, next=0,
        )  # fmt: skip
        self.desk = Desk.of(live)

    @property
    def room(self) -> bool:
        """Whether another suite may go out."""
        return self.end is None and self.next < self.job.suites and len(self.out) < self.spec.in_flight

    def publish(self) -> tuple[Event, list[Suite]]:
        """The next suite: the news of it, and what goes to judges."""
        suite, self.next = self.next, self.next + 1
        news = self.job.announced(suite)
        if self.spec.affordable is not None and self.spec.cascades:
            news = replace(news, data={**news.data, "total": self.job.count})
        if not self.job.sent(suite):
            return news, []
        self.out.add(suite)
        return news, [self.part(suite, 0, judge, slot, self.job.sent(suite), 1) for judge, slot in self.desk.slots]

    def part(self, suite: int, stage: int, judge: str, slot: int, positions: Sequence[int], attempt: int) -> Suite:
        """Tasks of a suite as they go to a judge."""
        return Suite(
            job=self.job.id, suite=suite, stage=stage, judge=judge, slot=slot, positions=list(positions),
            payloads=[None] * len(positions), attempt=attempt,
        )  # fmt: skip

    def hear(self, event: Event) -> list[Suite]:
        """What the aggregator says; what goes to judges of that."""
        d = event.data
        if event.name == SUITES_SETTLED:
            self.settled |= set(d["suites"])
            self.out -= self.settled
        elif event.name == JOB_COMPLETED:
            self.end = dict(d)
        elif event.name == WORKER_RATED and d["action"] == "retire":
            self.desk.live.retired.add(d["worker"])
        elif event.name == SUITE_ESCALATED and self.end is None and d["suite"] not in self.settled:
            return [self.part(d["suite"], d["stage"], d["judge"], d["slot"], d["positions"], d["attempt"])]
        return []
