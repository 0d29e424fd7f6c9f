"""What a job will take, before it is run: counts from its source, times from a pilot of a few tasks."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from manyhands.settings import load
from manyhands.spec import JobSpec
from manyhands_aggregator.cost import Part, cost, makespan
from manyhands_cli.jobfile import references
from manyhands_producer.sources import Source, open_source
from manyhands_worker.offer import make, offers
from manyhands_worker.settings import WorkerSettings
from manyhands_worker.sources import named_by, setup_of

#: Rows and bytes read at a time while counting.
ROWS, BYTES = 20_000, 8 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Pilot:
    """What a judge took in the pilot: seconds to get ready, then seconds for each task; how many it failed."""

    judge: str
    load_seconds: float
    seconds_per_task: float
    tasks: int
    failed: int


@dataclass(frozen=True, slots=True)
class Counted:
    """A source's rows: those that become tasks, those that are refused, and the first few payloads."""

    tasks: int
    refused: int
    sample: Sequence[Any]


def count(spec: JobSpec, sample: int, said: Callable[[int], None]) -> Counted:
    """Read the source once, as a stream; ``said`` is told now and then how far it is.

    Raises:
        SourceError: it cannot be read.
    """
    source: Source = open_source(spec)
    tasks = refused = 0
    first: list[Any] = []
    try:
        while True:
            rows = source.read(ROWS, BYTES)
            tasks += len(rows.payloads)
            refused += len(rows.refused)
            if len(first) < sample:
                first += [p for i, p in enumerate(rows.payloads) if i not in rows.refused][: sample - len(first)]
            said(tasks)
            if rows.end:
                return Counted(tasks, refused, first)
    finally:
        source.close()


def pilot(spec: JobSpec, job_file: Path, handlers: str | None, sample: Sequence[Any]) -> list[Pilot]:
    """Let every judge of the plan judge the sample, here and now; nothing is published or kept.

    Raises:
        HandlerError: a judge cannot be loaded or made.
    """
    judges = spec.judge_names
    settings = load(WorkerSettings, handlers=references(spec, handlers), config=job_file, judges=judges)
    found = []
    for name, offer in offers(setup_of(named_by(settings), settings, "pilot"), lambda _group, _runs: None).items():
        started = time.perf_counter()
        judge = make(name, offer)
        loaded = time.perf_counter()
        said = judge(range(len(sample)), sample) if sample else []
        seconds = time.perf_counter() - loaded
        found.append(
            Pilot(
                judge=name,
                load_seconds=loaded - started,
                seconds_per_task=seconds / max(len(sample), 1),
                tasks=len(sample),
                failed=sum(isinstance(one, BaseException) for one in said),
            )
        )
        close = getattr(judge, "close", None)
        if close is not None:
            close()
    return found


def foretell(spec: JobSpec, counted: Counted, pilots: Sequence[Pilot], children: int) -> dict[str, Any]:
    """Tasks, suites, messages, judgments, seconds and cost of a job; pure.

    The time is the makespan bound of docs/cost-model.md over ``children`` equal processes: models are loaded once a
    child, the work is shared evenly, a suite is worked on by one. What the pipeline itself adds (some microseconds a
    task) is not in it.
    """
    judged = counted.tasks - counted.refused
    by_judge = {p.judge: p for p in pilots}
    parts = [
        Part(tasks=judged, judgments=j.judgments, price=j.price, seconds=by_judge[j.judge].seconds_per_task)
        for j in spec.judges
    ]
    longest = min(judged, spec.suite) * max(part.seconds for part in parts)
    load = sum(by_judge[j.judge].load_seconds for j in spec.judges)
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
                "load_seconds": round(by_judge[j.judge].load_seconds, 3),
                "seconds_per_task": round(by_judge[j.judge].seconds_per_task, 9),
                "price": j.price,
                "pilot_tasks": by_judge[j.judge].tasks,
                "pilot_failed": by_judge[j.judge].failed,
            }
            for j in spec.judges
        ],
    }
