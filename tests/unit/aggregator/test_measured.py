"""What the aggregator counts of judgments and answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from prometheus_client import REGISTRY

from manyhands.deadletters import Cause, raw_letter
from manyhands.messages import Failure
from tests.unit.aggregator.kit import NAMES, Bench, Job, delivery, from_letter


@pytest.fixture
def grown() -> Callable[[str], float]:
    """By how much a sample has grown since the test began."""
    before = {s.name: s.value for m in REGISTRY.collect() for s in m.samples if not s.labels}
    return lambda name: round((REGISTRY.get_sample_value(name) or 0) - before.get(name, 0), 6)


def test_settle_seconds(bench: Bench, grown: Callable[[str], float]) -> None:
    """From when the worker had finished to the commit; once a message, and nothing for a time that cannot be."""
    job = Job()
    now = bench.clock.now()
    one = replace(job.judged(0), finished=now - 2)
    bench.take(*job.news(), one, one, replace(job.judged(1), finished=now + 5), job.judged(2))
    assert grown("manyhands_settle_seconds_count") == 2
    assert grown("manyhands_settle_seconds_sum") == 2


def test_answers(bench: Bench, grown: Callable[[str], float]) -> None:
    """Confidence, agreement and judgments of each answer are counted once, and of failures not at all."""
    job = Job(count=4, size=4, judges=["one", "two", "three"])
    one, two = job.judged(0, ["a", "a", "a", "a"]), job.judged(0, ["a", "a", "b", "b"], judge="two")
    three = job.judged(0, ["a", "b", "c", "b"], judge="three")
    bench.take(*job.news(), one, two)
    assert grown("manyhands_answer_confidence_count") == 0
    bench.take(three)
    bench.take(three)
    for name in ("confidence", "agreement", "judgments"):
        assert grown(f"manyhands_answer_{name}_count") == 4
    assert grown("manyhands_answer_judgments_sum") == 12
    assert grown("manyhands_answer_agreement_sum") == pytest.approx(1 + 2 / 3 + 1 / 3 + 2 / 3, abs=1e-5)
    failed = Job(count=2, size=2)
    bench.take(*failed.news(), failed.failed(0))
    assert grown("manyhands_answer_confidence_count") == 4


@pytest.fixture
def settled() -> Callable[[], dict[str, float]]:
    """Tasks settled since the test began, by result."""

    def now() -> dict[str, float]:
        name, results = "manyhands_tasks_settled_total", ("answered", "failed", "cancelled")
        return {result: REGISTRY.get_sample_value(name, {"result": result}) or 0 for result in results}

    before = now()
    return lambda: {result: tasks - before[result] for result, tasks in now().items() if tasks != before[result]}


def test_tasks_settled_by_judges_and_by_nobody(bench: Bench, settled: Callable[[], dict[str, float]]) -> None:
    """Each task once: answered, failed at a judge, refused at the source; repeats are no more."""
    job = Job(
        count=6, size=2, refused={4: Failure(code="bad-row", message="?"), 5: Failure(code="bad-row", message="?")}
    )
    bench.take(*job.news(), *job.news(), job.judged(0), job.judged(0), job.failed(1))
    assert bench.counts(job) == (6, 2, 4, 0, 0)
    assert settled() == {"answered": 2, "failed": 4}
    bench.take(job.judged(1))  # a replay that mends them
    assert bench.counts(job) == (6, 4, 2, 0, 0)
    assert settled() == {"answered": 4, "failed": 4}


def test_tasks_settled_by_a_cancellation(bench: Bench, settled: Callable[[], dict[str, float]]) -> None:
    """What was open counts as cancelled, once."""
    job = Job(count=6)
    bench.take(job.opened(), job.announced(0, 1), job.judged(0))
    bench.take(job.cancelled())
    bench.take(job.cancelled(), job.announced(2), job.sealed(), job.judged(1))
    assert bench.counts(job) == (6, 2, 0, 4, 0)
    assert settled() == {"answered": 2, "cancelled": 4}


def test_tasks_settled_by_the_clock(
    bench: Bench, settled: Callable[[], dict[str, float]], grown: Callable[[str], float]
) -> None:
    """A deadline settles the rest: with the answers there are, which count as such, and failed where there are none."""
    job = Job(count=8, judges=["one", "two"], more={"deadline": 100})
    bench.take(job.opened(bench.clock.now()), job.announced(0, 1, 2))
    bench.take(job.judged(0), job.judged(0, judge="two"), job.judged(1, "b"), job.judged(2, "c", positions=[4]))
    assert settled() == {"answered": 2}
    bench.fake_clock.turn(101)
    bench.swept()
    bench.swept()
    assert settled() == {"answered": 5, "failed": 1}
    assert grown("manyhands_answer_confidence_count") == 5
    bench.take(job.announced(3), job.sealed())
    assert bench.counts(job) == (8, 5, 3, 0, 0)
    assert settled() == {"answered": 5, "failed": 3}


@pytest.mark.parametrize(("method", "answers"), [("first", 1), ("weighted", 1), ("majority", 1), ("mean", 0)])
def test_agreement_is_for_votes(bench: Bench, grown: Callable[[str], float], method: str, answers: int) -> None:
    """Where a mean is taken nobody need agree; a single judgment agrees with itself and is not counted."""
    number = {"type": "number", "min": 0, "max": 9}
    more = {"method": method, **({"answer": number} if method == "mean" else {})}
    values = (1, 2) if method == "mean" else ("a", "b")
    job = Job(count=1, size=1, judges=["one", "two"], more=more)
    bench.take(*job.news(), job.judged(0, values[0]), job.judged(0, values[1], judge="two"))
    assert grown("manyhands_answer_agreement_count") == answers
    assert grown("manyhands_answer_agreement_sum") == answers / 2
    alone = Job(count=1, size=1)
    bench.take(*alone.news(), alone.judged(0))
    assert grown("manyhands_answer_agreement_count") == answers


def test_open_tasks(bench: Bench) -> None:
    """The tasks of open jobs that are not settled, as of the last look."""
    job = Job(count=6, size=2)
    bench.take(*job.news(), job.judged(0))
    bench.upkeep.measure()
    assert REGISTRY.get_sample_value("manyhands_open_tasks") == 4
    bench.take(job.judged(1), job.judged(2))
    bench.upkeep.measure()
    assert REGISTRY.get_sample_value("manyhands_open_tasks") == 0


def test_codes_are_few(bench: Bench) -> None:
    """Letters with ever new codes are filed all, and make few label values."""
    forged = [
        from_letter(raw_letter(NAMES, "judgments", delivery(Job().judged(0)), Cause(code=f"c{i}", error="?", at=1.0)))
        for i in range(60)
    ]
    bench.take(*forged)
    (family,) = [m for m in REGISTRY.collect() if m.name == "manyhands_dead_letters"]
    assert len({s.labels["code"] for s in family.samples}) <= 21
    other = {"kind": "judgments", "code": "other"}
    assert (REGISTRY.get_sample_value("manyhands_dead_letters_total", other) or 0) >= 40
