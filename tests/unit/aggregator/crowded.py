"""Simulated crowds as tasks on record, and as jobs that a real aggregator decides."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from manyhands.messages import Judgments
from manyhands.spec import JobSpec, received
from manyhands.testing.crowd import Simulated
from manyhands_aggregator.course import Slot
from manyhands_aggregator.sample import Said, Sample, Specimen
from tests.unit.aggregator.kit import Bench, Job, plain_spec

PRICE = 0.05


def plan_of(classes: int, accept: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """A job of one stage of two people and more, in small suites."""
    answer = {"type": "choice", "options": [str(label) for label in range(classes)]}
    stages = [{"judges": [{"judge": "people", "judgments": 2, "price": PRICE}], "accept": dict(accept)}]
    return {"answer": answer, "stages": stages, "in_flight": 4, **more}


def spec_of(plan: Mapping[str, Any], size: int = 20) -> JobSpec:
    """The job file."""
    return received(plain_spec(suite=size, **plan))


def on_record(crowd: Simulated, seed: int = 0) -> list[Specimen]:
    """What everybody said of each task, in an order that the seed decides, and the truth."""
    rng = random.Random(seed)
    said: list[list[Said]] = [[] for _ in range(crowd.tasks)]
    for task, worker, label in zip(crowd.task.tolist(), crowd.worker.tolist(), crowd.label.tolist(), strict=True):
        said[task].append(Said(f"w{worker}", str(label)))
    for some in said:
        rng.shuffle(some)
    return [Specimen({"people": some}, str(truth)) for some, truth in zip(said, crowd.truth.tolist(), strict=True)]


def pilot(tasks: list[Specimen], size: int, seed: int) -> Sample:
    """Some of them, chosen by lot."""
    return Sample(tasks=random.Random(seed).sample(tasks, size))


@dataclass(frozen=True, slots=True)
class Came:
    """What became of a job."""

    judgments: int
    cost: float
    accuracy: float


def decided(bench: Bench, plan: Mapping[str, Any], tasks: list[Specimen], size: int = 20) -> Came:
    """Have the tasks judged by those on record and decided by the aggregator: its store, its intake, its accounts."""
    job = Job(count=len(tasks), size=size, more=plan)
    bench.take(*job.news())
    people = [iter(task.said["people"]) for task in tasks]
    spec = spec_of(plan, size)
    slots: list[Slot] = [(0, j.judge, slot) for j in spec.stages[0].judges for slot in range(j.judgments)]
    suites = deque(range(job.suites))
    waiting: deque[tuple[int, Slot, list[int]]] = deque()
    settled = 0  # suites
    while waiting or suites:
        while suites and job.suites - len(suites) - settled < spec.in_flight:
            suite = suites.popleft()
            waiting += [(suite, slot, list(job.positions(suite))) for slot in slots]
        suite, slot, positions = waiting.popleft()
        events = bench.events(*_messages(job, suite, slot, {p: next(people[p]) for p in positions}))
        for event in events:
            data = event.data
            if event.name == "suite.escalated":
                waiting.append((data["suite"], (data["stage"], data["judge"], data["slot"]), data["positions"]))
            settled += len(data["suites"]) if event.name == "suites.settled" else 0
    bench.swept()  # goes over it as a whole
    progress = bench.progress(job)
    assert progress["state"] == "complete"
    answers = bench.answers(job).values
    right = sum(answer == task.truth for answer, task in zip(answers, tasks, strict=True))
    return Came(progress["judgments"], progress["spent"], right / len(tasks))


def _messages(job: Job, suite: int, slot: Slot, said: Mapping[int, Said]) -> list[Judgments]:
    by_worker: dict[str, dict[int, Said]] = {}
    for position, one in said.items():
        by_worker.setdefault(one.worker, {})[position] = one
    stage, judge, number = slot
    return [
        job.judged(
            suite, [one.value for one in some.values()], judge=judge, slot=number, stage=stage, worker=worker,
            positions=list(some),
        )
        for worker, some in by_worker.items()
    ]  # fmt: skip
