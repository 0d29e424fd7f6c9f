"""What a job will take, before it is run: its source counted, its judges tried, and the rest foretold from that."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from manyhands.handlers import Asked, ask
from manyhands.outcome import failure
from manyhands.settings import load
from manyhands.spec import PEOPLE, JobSpec
from manyhands_aggregator import values
from manyhands_aggregator.cost import Part, cost, makespan
from manyhands_aggregator.sample import Said, Sample, Specimen
from manyhands_cli.jobfile import references
from manyhands_cli.seen import Seen
from manyhands_producer.sources import Gold, Rows, Source, load_gold, load_mixed, open_source
from manyhands_worker.judging import sort
from manyhands_worker.offer import make, offers
from manyhands_worker.settings import WorkerSettings
from manyhands_worker.sources import named_by, setup_of

#: Rows and bytes read at a time while counting.
ROWS, BYTES = 20_000, 8 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Pilot:
    """What a judge took in the pilot: seconds to get ready, then seconds for each judgment; how many it failed.

    ``said`` has the judgments of each task, by slot, ``first_error`` why it failed first.
    """

    judge: str
    load_seconds: float
    seconds_per_task: float
    tasks: int
    failed: int
    said: Sequence[Sequence[Said]] = ()
    first_error: str | None = None

    @property
    def dead(self) -> bool:
        """Whether every judgment failed."""
        return bool(self.said) and all(one.failure is not None for of in self.said for one in of)


@dataclass(frozen=True, slots=True)
class Counted:
    """A source's rows: those that become tasks, those that are refused, and a few payloads with their truths.

    ``stops`` is the first bad row, and why it is bad, if a run would stop there.
    """

    tasks: int
    refused: int
    sample: Sequence[Any]
    truths: Sequence[Any] = ()
    stops: str | None = None


def count(spec: JobSpec, sample: int, said: Callable[[int], None], seed: int | None = None) -> Counted:
    """Read the source once, as a stream; ``said`` is told now and then how far it is.

    The sample is the first rows, or with a ``seed`` any, each as likely as the next (reservoir sampling: J. S. Vitter,
    "Random Sampling with a Reservoir", ACM TOMS 11, 1985, algorithm R).

    Raises:
        SourceError: it cannot be read.
    """
    source: Source = open_source(spec)
    gold, mixed = load_gold(spec), load_mixed(spec, spec.name)
    tasks = refused = 0
    kept: list[tuple[Any, Any]] = []
    strict, stops = spec.source is not None and spec.source.on_bad_row == "stop", None
    seen = Seen()
    rng = None if seed is None else random.Random(seed)
    try:
        while True:
            rows = source.read(ROWS, BYTES)
            own_ids = rows.ids is not None
            rows = rows if mixed is None else mixed.mix(rows, tasks)
            if own_ids:
                seen.note(rows)
            if strict and stops is None and (bad := rows.bad()) is not None:
                stops = rows.refused[bad].message
            for index, payload in enumerate(rows.payloads):
                if index in rows.refused:
                    refused += 1
                elif len(kept) < sample:
                    kept.append((payload, _truth(rows, index, tasks + index, gold)))
                elif rng is not None and (place := rng.randrange(tasks + index + 1 - refused)) < sample:
                    kept[place] = payload, _truth(rows, index, tasks + index, gold)
            tasks += len(rows.payloads)
            said(tasks)
            if rows.end:
                return Counted(tasks, refused, [one for one, _ in kept], [truth for _, truth in kept], stops)
    finally:
        seen.close()
        source.close()


def _truth(rows: Rows, index: int, position: int, gold: Gold | None) -> Any:
    if gold is not None:
        return gold.get((rows.ids[index] if rows.ids is not None else None) or str(position))
    return None if rows.truths is None else rows.truths[index]


def pilot(
    spec: JobSpec, job_file: Path, handlers: str | None, sample: Sequence[Any], without: Sequence[str] = ()
) -> list[Pilot]:
    """Let every judge of the plan judge the sample, here and now; nothing is published or kept.

    Each judge of each stage judges every task, as often as the plan may ask it; those ``without`` are left out.

    Raises:
        HandlerError: a judge cannot be loaded or made.
    """
    judges = [name for name in spec.judge_names if name not in without]
    settings = load(WorkerSettings, handlers=references(spec, handlers), config=job_file, judges=judges)
    check, slots = values.check(spec.answer), slots_of(spec)
    found = []
    for name, offer in offers(setup_of(named_by(settings), settings, "pilot"), lambda _group, _runs: None).items():
        started = time.perf_counter()
        judge = make(name, offer)
        loaded = time.perf_counter()
        said: list[list[Said]] = [[] for _ in sample]
        for slot in range(slots[name]):
            ask(Asked(job="pilot", slot=slot))
            for first in range(0, len(sample), spec.suite):
                payloads = sample[first : first + spec.suite]
                heard = _heard(judge(range(first, first + len(payloads)), payloads), name, slot, check)
                for at, one in enumerate(heard, first):
                    said[at].append(one)
        seconds = time.perf_counter() - loaded
        found.append(
            Pilot(
                judge=name,
                load_seconds=loaded - started,
                seconds_per_task=seconds / max(len(sample) * slots[name], 1),
                tasks=len(sample),
                failed=sum(of[0].failure is not None for of in said),
                said=said,
                first_error=next((_why(one) for of in said for one in of if one.failure is not None), None),
            )
        )
        close = getattr(judge, "close", None)
        if close is not None:
            close()
    return found


def _why(said: Said) -> str:
    return "" if said.failure is None else f"{said.failure.code}: {said.failure.message}"


def slots_of(spec: JobSpec) -> dict[str, int]:
    """How often the plan may ask each judge for another opinion of a task.

    A machine: as often as a stage has slots for it at once. People: by every stage, as often as it may.
    """
    found = dict.fromkeys(spec.judge_names, 1)
    found |= {PEOPLE: 0} if PEOPLE in found else {}
    for stage in spec.stages:
        for judge in stage.judges:
            if judge.judge == PEOPLE:
                most = stage.accept.at_most if stage.accept is not None else None
                others = sum(other.judgments for other in stage.judges if other is not judge)
                found[PEOPLE] += judge.judgments if most is None else max(judge.judgments, most - others)
            else:
                found[judge.judge] = max(found[judge.judge], judge.judgments)
    return found


def _heard(said: list[Any], judge: str, slot: int, check: values.Check) -> list[Said]:
    parted = sort(said)
    nobody = [None] * len(said)
    columns = zip(
        parted.values, parted.confidences or nobody, parted.costs or nobody, parted.workers or nobody, strict=True
    )
    found = []
    for index, (value, confidence, paid, worker) in enumerate(columns):
        who = worker or (f"{judge}-{slot}" if judge == PEOPLE else judge)
        try:
            if index in parted.errors:
                raise parted.errors[index]
            found.append(Said(who, check(value), confidence, paid))
        except BaseException as error:  # noqa: BLE001  whatever a handler raised; or the value is no answer
            found.append(Said(who, failure=failure(error)))
    return found


def sampled(counted: Counted, pilots: Sequence[Pilot], skills: Mapping[str, float]) -> Sample:
    """The sample that a pilot is, with what is stated of judges that did not take part."""
    truths = counted.truths or [None] * len(counted.sample)
    tasks = [
        Specimen({p.judge: p.said[place] for p in pilots if p.said}, truth) for place, truth in enumerate(truths)
    ] if pilots else []  # fmt: skip
    return Sample(
        tasks=tasks, skills=skills, seconds={p.judge: p.seconds_per_task for p in pilots},
        load={p.judge: p.load_seconds for p in pilots},
    )  # fmt: skip


def stated(sample: Sample, skills: Mapping[str, float]) -> Sample:
    """A sample in which some judges are as good as is stated, whatever is on record of them."""
    if not skills:
        return sample
    tasks = [
        replace(task, said={judge: said for judge, said in task.said.items() if judge not in skills})
        for task in sample.tasks
    ]
    return replace(sample, tasks=tasks, skills={**sample.skills, **skills})


def foretell(spec: JobSpec, counted: Counted, pilots: Sequence[Pilot], children: int) -> dict[str, Any]:
    """Tasks, suites, messages, judgments, seconds and cost of a job of which every stage is asked all; pure.

    The time is the makespan bound of docs/cost-model.md over ``children`` equal processes: models are loaded once a
    child, the work is shared evenly, a suite is worked on by one. What the pipeline itself adds (some microseconds a
    task) is not in it.
    """
    judged = counted.tasks - counted.refused
    by_judge = {p.judge: p for p in pilots}
    nothing = Pilot(judge="", load_seconds=0.0, seconds_per_task=0.0, tasks=0, failed=0)
    of = [by_judge.get(j.judge, nothing) for j in spec.judges]
    parts = [
        Part(tasks=judged, judgments=j.judgments, price=j.price, seconds=took.seconds_per_task)
        for j, took in zip(spec.judges, of, strict=True)
    ]
    longest = min(judged, spec.suite) * max(part.seconds for part in parts)
    load = sum(p.load_seconds for p in pilots)
    suites = -(-judged // spec.suite)
    slots = sum(j.judgments for j in spec.judges)
    return {
        "name": spec.name,
        "tasks": counted.tasks,
        "refused": counted.refused,
        "suites": suites,
        "messages": suites * slots,
        "judgments": judged * slots,
        "children": children,
        "seconds": round(load + makespan(longest, sum(part.work for part in parts), children), 2),
        "cost": round(cost(parts).total, 6),
        "judges": [
            {
                "judge": j.judge,
                "judgments": judged * j.judgments,
                "load_seconds": round(took.load_seconds, 3),
                "seconds_per_task": round(took.seconds_per_task, 9),
                "price": j.price,
                "pilot_tasks": took.tasks,
                "pilot_failed": took.failed,
                **({"first_error": took.first_error} if took.first_error else {}),
            }
            for j, took in zip(spec.judges, of, strict=True)
        ],
    }
