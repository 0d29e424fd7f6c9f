"""What a job will take and how right it will be, foretold by rehearsing it many times over; pure.

A method of Monte Carlo. Every other rehearsal has each of the tasks on record as often as the next, and gives the
figures; the others first draw anew which tasks are on record (the bootstrap of B. Efron, "Bootstrap Methods: Another
Look at the Jackknife", Annals of Statistics 7, 1979), and give the intervals: what a small sample leaves open.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from manyhands.spec import PEOPLE, JobSpec
from manyhands_aggregator.cost import Part, makespan
from manyhands_aggregator.plan import MILLION, Plan
from manyhands_aggregator.rehearsal import Rehearsal, Rehearsed
from manyhands_aggregator.sample import Sample, Urn

#: Tasks of one rehearsal, at most: those of a larger job are taken to go like these.
TASKS = 2000
#: Tasks of all rehearsals together, about, and how many rehearsals there are.
IN_ALL, LEAST, MOST = 10_000, 8, 50
#: An interval holds the figure with 80 % certainty: so many standard deviations to either side.
WIDE, CERTAINTY = 1.2816, 0.8


class Estimate(NamedTuple):
    """The mean of a figure, and within what it lies with 80 % certainty."""

    expected: float
    low: float
    high: float


class StageForecast(NamedTuple):
    """Tasks that come to a stage, judgments that it buys, and answers that it gives."""

    tasks: float
    judgments: float
    answers: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What is foretold of a job of so many ``tasks``.

    ``cost`` is in the job's money. ``confidence`` is the mean that the answers state, ``accuracy`` the share of the
    tasks of known truth that are answered with it; None where no truth is known. ``given`` are judgments by stage and
    judge. ``pays_for`` is for how many tasks the budget allows all that the plan asks; None where there is none.
    """

    tasks: int
    judgments: Estimate
    cost: Estimate
    seconds: Estimate
    confidence: Estimate | None
    accuracy: Estimate | None
    failed: float
    messages: float
    stages: Sequence[StageForecast]
    given: dict[tuple[int, str], float]
    pays_for: int | None


def forecast(spec: JobSpec, urn: Urn, tasks: int, *, capacity: int = 1, people: int = 0, seed: int = 0) -> Forecast:
    """Foretell a job of so many tasks like those in the urn.

    ``capacity`` counts the processes that work at once, ``people`` the people who work beside them; with 0 it is the
    processes that serve them, as a simulated crowd has it. Tasks whose first stage the budget does not pay for are
    refused. The same seed gives the same forecast.
    """
    plan, paid = Plan.of(spec), tasks if spec.affordable is None else min(tasks, spec.affordable)
    if paid < tasks:
        found = forecast(spec, urn, paid, capacity=capacity, people=people, seed=seed)
        right = None if found.accuracy is None else Estimate(*(share * paid / tasks for share in found.accuracy))
        return replace(found, tasks=tasks, failed=found.failed + tasks - paid, accuracy=right)
    n = min(tasks, TASKS)
    if not n:
        return _nothing(plan)
    at_work = capacity, people
    count = max(LEAST, min(MOST, IN_ALL // n))
    free = [_rehearse(plan, urn, n, tasks, None, at_work, 2 * seed * MOST + number) for number in range(count)]
    runs, pays_for = free, None
    if plan.budget is not None:
        each = float(np.mean([run.cost.mean() for run in free[::2]]))
        pays_for = tasks if each * tasks <= plan.budget else math.floor(plan.budget / each)
        if any(run.cost.mean() * tasks > plan.budget for run in free):
            budget = plan.budget * n // tasks
            runs = [
                _rehearse(plan, urn, n, tasks, budget, at_work, 2 * seed * MOST + number) for number in range(count)
            ]
    scale = tasks / n
    spent = _estimate(runs, lambda run: run.cost, tasks, unit=MILLION)
    if plan.budget is not None and spent.expected <= (most := plan.budget / MILLION):
        spent = spent._replace(high=min(spent.high, most))
    seconds = [_seconds(spec, urn, run, scale, at_work) for run in runs]
    certain, plain = not plan.cascades, runs[::2]
    return Forecast(
        tasks=tasks,
        judgments=_estimate(runs, lambda run: run.judgments, tasks, certain=certain),
        cost=spent,
        seconds=_spread(seconds[::2], float(np.std(seconds[1::2])), 0.0, math.inf),
        confidence=_mean(runs, lambda run: run.confidence, tasks),
        accuracy=_mean(runs, lambda run: run.right, tasks),
        failed=float(np.mean([(run.stage < 0).mean() for run in plain])) * tasks,
        messages=float(np.mean([run.messages for run in plain])) * scale,
        stages=[
            StageForecast(
                float(np.mean([run.came[stage] for run in plain])) * scale,
                float(np.mean([sum(k for (at, _), k in run.given.items() if at == stage) for run in plain])) * scale,
                float(np.mean([(run.stage == stage).sum() for run in plain])) * scale,
            )
            for stage in range(len(plan.steps))
        ],
        given={
            (stage, judge.judge): float(np.mean([run.given[stage, judge.judge] for run in plain])) * scale
            for stage, each_stage in enumerate(spec.stages)
            for judge in each_stage.judges
        },
        pays_for=pays_for,
    )  # fmt: skip


def _rehearse(
    plan: Plan, urn: Urn, n: int, tasks: int, budget: int | None, at_work: tuple[int, int], number: int
) -> Rehearsed:
    rng = random.Random(number)
    people = urn.people(rng)
    drawn = [urn.draw(rng, place, people) for place in _places(urn.sample, n, number, rng)]
    # of a part of the job as large a share is on its way at once as of the whole
    in_flight = max(1, math.ceil(plan.spec.in_flight * n / tasks))
    capacity, beside = at_work
    return Rehearsal(plan, urn, drawn, budget).run(capacity, in_flight, beside)


def _places(sample: Sample, n: int, number: int, rng: random.Random) -> Sequence[int | None]:
    """Which of the tasks on record the n are: each as often as the next, or every other time a bootstrap of them."""
    known = len(sample.tasks)
    if not known:
        return [None] * n
    if number % 2:
        among = [rng.randrange(known) for _ in range(known)]
        return [among[rng.randrange(known)] for _ in range(n)]
    left = rng.sample(range(known), n % known)
    if sample.ordered:
        return [*range(known)] * (n // known) + sorted(left)
    places = [*range(known)] * (n // known) + left
    rng.shuffle(places)
    return places


def _seconds(spec: JobSpec, urn: Urn, run: Rehearsed, scale: float, at_work: tuple[int, int]) -> float:
    """How long it took, with what judges take to get ready; of a part, and what the rest of the work takes.

    Never less than the makespan bound of docs/cost-model.md.
    """
    each, (capacity, people) = urn.sample.seconds, at_work
    suite = min(spec.suite, round(len(run.stage) * scale))
    machines = {key: Part(tasks=k * scale, seconds=each.get(key[1], 0.0)) for key, k in run.given.items()}
    persons = [machines.pop(key) for key in list(machines) if people and key[1] == PEOPLE]
    work, theirs = (sum(part.work for part in parts) for parts in (machines.values(), persons))
    longest = max((suite * part.seconds for part in machines.values() if part.given), default=0.0)
    least = makespan(longest, work, capacity)
    if persons:
        least = max(least, makespan(max(part.seconds for part in persons), theirs, people))
    rest = max(work / capacity, theirs / people if people else 0.0) * (1 - 1 / scale)
    load = sum(urn.sample.load.get(judge, 0.0) for judge in spec.judge_names)
    return load + max(least, run.seconds + rest)


def _estimate(
    runs: Sequence[Rehearsed],
    of: Callable[[Rehearsed], np.ndarray],
    tasks: int,
    *,
    unit: float = 1.0,
    certain: bool = False,
) -> Estimate:
    found = _mean(runs, of, tasks)
    expected, low, high = (0.0, 0.0, 0.0) if found is None else (one * tasks / unit for one in found)
    return Estimate(expected, expected, expected) if certain else Estimate(expected, low, high)


def _mean(runs: Sequence[Rehearsed], of: Callable[[Rehearsed], np.ndarray], tasks: int) -> Estimate | None:
    """The mean over tasks: as the record is, give or take what it might have been.

    In rehearsals of fewer tasks than the job has, chance weighs more than it will then.
    """
    plain, varied = _columns(runs[::2], of), _columns(runs[1::2], of)
    if not plain:
        return None
    within = float(np.mean([column.var() for column in plain]))
    share = tasks / len(of(runs[0]))
    size = float(np.mean([len(column) for column in plain]))
    mean = float(np.mean([column.mean() for column in plain]))
    spread = float(np.mean([(column.mean() - mean) ** 2 for column in varied])) if varied else 0.0
    variance = max(0.0, spread - within / size + within / (size * share))
    lowest = min(float(column.min()) for column in (*plain, *varied))
    highest = max(float(column.max()) for column in (*plain, *varied))
    return _spread([float(column.mean()) for column in plain], math.sqrt(variance), lowest, highest)


def _columns(runs: Sequence[Rehearsed], of: Callable[[Rehearsed], np.ndarray]) -> list[np.ndarray]:
    """What is known of each rehearsal's tasks; those of which nothing is are left out."""
    known = [column[~np.isnan(column)] for run in runs for column in (of(run).astype(float),)]
    return [column for column in known if len(column)]


def _spread(found: Sequence[float], deviation: float, lowest: float, highest: float) -> Estimate:
    mean = float(np.mean(found))
    return Estimate(mean, max(lowest, mean - WIDE * deviation), min(highest, mean + WIDE * deviation))


def _nothing(plan: Plan) -> Forecast:
    zero = Estimate(0.0, 0.0, 0.0)
    return Forecast(
        tasks=0, judgments=zero, cost=zero, seconds=zero, confidence=None, accuracy=None, failed=0.0, messages=0.0,
        stages=[StageForecast(0.0, 0.0, 0.0)] * len(plan.steps), given={}, pays_for=None if plan.budget is None else 0,
    )  # fmt: skip
