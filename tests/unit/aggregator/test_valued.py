"""Jobs of sets and of numbers, gone over as a whole before they end; and what that changes for who is paid."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import pytest

from manyhands.errors import SpecError
from manyhands.spec import parse
from manyhands_aggregator import rewards
from tests.unit.aggregator.kit import Bench, Job, plain_spec

TASKS, SIZE = 40, 5
JUDGES = ("good", "better", "x", "y", "z")
LABELS = {"type": "choices", "options": ["a", "b", "c"]}


def judged(bench: Bench, job: Job, right: Any, wrong: Any) -> None:
    """Two judges are all but right, three are not."""
    chance = random.Random(1)
    bench.take(*job.news())
    for suite in range(job.suites):
        for judge in JUDGES:
            say = right if judge in ("good", "better") else wrong
            bench.take(job.judged(suite, [say(p, chance) for p in job.positions(suite)], judge=judge))


def labels(position: int) -> list[str]:
    """The labels of a task."""
    return [option for bit, option in enumerate("abc") if position >> bit & 1]


@pytest.mark.parametrize("method", ["precision", "robust"])
def test_numbers_lean_on_who_is_exact(bench: Bench, method: str) -> None:
    """The answers come closer to the truth than the medians that they are at first; gold stays what it was judged."""
    more = {"answer": {"type": "number", "min": 0, "max": 100}, "method": method}
    job = Job(count=TASKS, size=SIZE, judges=JUDGES, more=more, truths=[0.0, *[None] * (TASKS - 1)])
    judged(bench, job, lambda p, c: p + c.gauss(0, 0.1), lambda p, c: min(100.0, max(0.0, p + c.gauss(0, 15))))
    assert bench.state(job) == "open"
    before = bench.answers(job)
    bench.swept()
    after = bench.answers(job)
    assert bench.state(job) == "complete"

    def off(values: Any) -> float:
        return float(max(abs(value - position) for position, value in enumerate(values)))

    assert off(after.values) < 2 < off(before.values)
    assert all(confidence is not None and 0.9 < confidence <= 1 for confidence in after.confidences)
    assert after.counts == [5] * TASKS
    assert bench.swept() == []


def test_sets_lean_on_who_is_right(bench: Bench) -> None:
    """Label by label, by any method for choices."""
    job = Job(count=TASKS, size=SIZE, judges=JUDGES, more={"answer": LABELS, "method": "one-coin"})
    judged(bench, job, lambda p, _: labels(p), lambda _, c: labels(c.randrange(8)))
    bench.swept()
    assert bench.answers(job).values == [labels(p) for p in range(TASKS)]
    assert bench.state(job) == "complete"


def test_who_agrees_with_the_last_answer_is_paid_for_it(bench: Bench) -> None:
    """An answer that becomes another takes a bonus from some and gives it to others, by entries of their own."""
    more = {"method": "one-coin", "rewards": {"judgment": 1, "agreement": 0.5}}
    job = Job(count=TASKS, size=SIZE, judges=[{"people": 5}], more=more)
    chance = random.Random(5)
    bench.take(*job.news())
    for suite in range(job.suites):
        for slot, person in enumerate(JUDGES):
            right = person in ("good", "better")
            values = ["abc"[p % 3] if right else chance.choice("aabbc") for p in job.positions(suite)]
            said = job.judged(suite, values, judge="people", slot=slot)
            bench.take(dataclasses.replace(said, worker=person))
    before = rewards.of_job(bench.store, job.id)["people"]
    bench.swept()
    assert bench.answers(job).values == ["abc"[p % 3] for p in range(TASKS)]
    after = {row["worker"]: float(row["earned"]) for row in rewards.of_job(bench.store, job.id)["people"]}
    assert after["good"] == after["better"] == TASKS * 1.5
    assert next(row for row in before if row["worker"] == "good")["earned"] != "60"
    assert bench.audit(job)["rewards"]["owed"] == 0


@pytest.mark.parametrize(
    ("answer", "method", "why"),
    [
        ({"type": "number"}, "blend", "numbers take precision or robust"),
        ({"type": "text"}, "blend", "choice or choices"),
        ({"type": "text"}, "robust", "type number"),
    ],
)
def test_methods_of_other_types(answer: dict[str, Any], method: str, why: str) -> None:
    """The job file says which is for what."""
    with pytest.raises(SpecError, match=why):
        parse(plain_spec(answer=answer, method=method))
