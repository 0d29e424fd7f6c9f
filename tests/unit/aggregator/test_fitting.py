"""Jobs that are gone over as a whole before they end: what changes, what stays, and that it may be killed half-way."""

from __future__ import annotations

import random
from typing import Any

import pytest

from manyhands.spec import INFERENCE, STRONGEST, JobSpec, parse
from manyhands.spec.methods import OF_NUMBERS
from manyhands_aggregator import fitting, ratings, settled
from manyhands_aggregator.answers import Block
from manyhands_aggregator.fitting import Fitting
from manyhands_aggregator.plan import Plan
from manyhands_aggregator.truth.methods import DEFAULT, METHODS
from manyhands_aggregator.wholly import Gathered
from manyhands_service.store import Conflict
from tests.unit.aggregator.kit import Bench, Job, plain_spec, said

#: Two judges who are always right, and three who guess: together these outvote the two now and then.
JUDGES = ("good", "better", "x", "y", "z")
TASKS, SIZE = 60, 5


def job_of(**more: Any) -> Job:
    """A job of one stage whose method weighs its voters."""
    return Job(count=TASKS, size=SIZE, judges=JUDGES, more={"method": "one-coin", **more})


def truth(position: int) -> str:
    """What is right."""
    return "abc"[position % 3]


def judged(bench: Bench, job: Job, seed: int = 1) -> None:
    """All that the judges say of it."""
    chance = random.Random(seed)
    bench.take(*job.news())
    for suite in range(job.suites):
        run = job.positions(suite)
        for judge in JUDGES:
            guesses = [chance.choice("aabbc") for _ in run]
            values = [truth(p) for p in run] if judge in ("good", "better") else guesses
            bench.take(job.judged(suite, values, judge=judge))


def right(block: Block) -> int:
    """How many answers are right."""
    return sum(value == truth(position) for position, value in zip(block.positions, block.values, strict=True))


def test_voters_are_weighed_before_the_job_ends(bench: Bench) -> None:
    """Open until all has been gone over; then those who guess outvote nobody, and the producer is told."""
    job = job_of()
    judged(bench, job)
    assert bench.state(job) == "open"
    assert bench.counts(job) == (TASKS, TASKS, 0, 0, 0)
    before = bench.answers(job)
    events = said(bench.swept())
    assert [(e.name, e.data["state"]) for e in events] == [("job.completed", "complete")]
    after = bench.answers(job)
    assert right(before) < TASKS == right(after)
    assert after.counts == before.counts
    assert bench.counts(job) == (TASKS, TASKS, 0, 0, 0)
    assert bench.swept() == []


def test_accuracy_is_that_of_the_answers_there_are(bench: Bench) -> None:
    """What is right now is counted anew; gold teaches, and its own answers are judged as all others are."""
    job = job_of()
    job.truths = [truth(p) for p in range(TASKS)]
    judged(bench, job)
    before = bench.progress(job)["accuracy"]
    bench.swept()
    assert before < bench.progress(job)["accuracy"] == 1.0


def test_it_may_be_killed_and_begun_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the suites are rewritten, then it dies: the next replica comes to the same answers as one that lived."""
    monkeypatch.setattr(settled, "PAGE", 3)
    whole, torn = job_of(), job_of()
    judged(bench, whole)
    bench.swept()
    judged(bench, torn)
    pages = 0
    real = fitting._page

    def dies(*arguments: Any) -> int | None:
        nonlocal pages
        pages += 1
        if pages == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(fitting, "_page", dies)
    with pytest.raises(KeyboardInterrupt):
        bench.upkeep.round()
    assert bench.counts(torn) == (TASKS, TASKS, 0, 0, 0)
    assert bench.state(torn) == "open"
    Bench(bench.store, bench.clock).swept()
    assert bench.state(torn) == "complete"
    one, other = bench.answers(whole), bench.answers(torn)
    assert (one.values, one.confidences) == (other.values, other.confidences)


def test_in_parts(bench: Bench) -> None:
    """A job with more votes than are held at once is gone over in parts, and ends as any other."""
    job = job_of()
    judged(bench, job)
    Fitting(bench.store, bench.clock.now, votes=100).round()
    assert bench.state(job) == "complete"
    assert right(bench.answers(job)) >= TASKS - 2


@pytest.mark.parametrize(("options", "most"), [(2, 1000), (10, 1000), (100, 100), (100_000, 1)])
def test_many_options_make_small_parts(options: int, most: int) -> None:
    """Memory is that of votes times options."""
    answer = {"type": "choice", "options": [str(n) for n in range(options)]}
    plan = Plan.of(parse(plain_spec(answer=answer)))
    assert fitting.part(plan, 1000) == most


def test_a_job_that_cannot_be_gone_over_ends_all_the_same(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answers stand as they were accepted."""
    job = job_of()
    judged(bench, job)
    before = bench.answers(job)
    monkeypatch.setattr(Fitting, "_fit", lambda *_: 1 / 0)
    bench.swept()
    assert bench.state(job) == "complete"
    assert bench.answers(job) == before


def test_what_comes_after_the_end_is_gone_over_too(bench: Bench) -> None:
    """A failed task that is replayed gets its answer, and then the whole job is gone over once more."""
    job = job_of()
    bench.take(*job.news())
    for suite in range(job.suites):
        for judge in JUDGES:
            values = [truth(p) for p in job.positions(suite)]
            if suite == 2:
                bench.take(job.failed(suite, judge=judge))
            else:
                bench.take(job.judged(suite, values, judge=judge))
    bench.swept()
    assert bench.counts(job) == (TASKS, TASKS - SIZE, SIZE, 0, 0)
    for judge, value in (("good", "a"), ("x", "b")):
        bench.take(job.judged(2, [value] * SIZE, judge=judge))
    assert (bench.state(job), bench.progress(job)["due"]) == ("complete", True)
    before = bench.answers(job).confidences[2 * SIZE]
    bench.swept()
    assert "due" not in bench.progress(job)
    assert bench.answers(job).confidences[2 * SIZE] != before
    assert bench.counts(job) == (TASKS, TASKS, 0, 0, 0)


def test_whom_nobody_contradicts(bench: Bench) -> None:
    """A task that one judge alone has answered keeps answer and confidence, whatever is found of the others."""
    stages = [{"judges": ["good"], "accept": {"confidence": 0.9}}, {"judges": ["x", "y", "z"]}]
    job = Job(count=120, size=60, more={"stages": stages, "method": "one-coin"}, truths=["a"] * 60 + [None] * 60)
    bench.take(*job.news())
    bench.take(job.judged(0, judge="good"))
    chance = random.Random(5)
    for judge in ("x", "y", "z"):
        bench.take(job.judged(0, [chance.choice("aab") for _ in range(60)], judge=judge, stage=1))
    bench.take(job.judged(1, "b", judge="good"))
    before = bench.answers(job)
    assert bench.state(job) == "open"
    bench.swept()
    after = bench.answers(job)
    assert bench.state(job) == "complete"
    assert (after.values[60:], after.confidences[60:]) == (["b"] * 60, before.confidences[60:])
    assert after.confidences[:60] != before.confidences[:60]


def test_a_conflict_is_tried_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing a page is a transaction as any other."""
    job = job_of()
    judged(bench, job)
    real = fitting._page
    failed: list[bool] = []

    def once(*arguments: Any) -> int | None:
        if not failed:
            failed.append(True)
            raise Conflict
        return real(*arguments)

    monkeypatch.setattr(fitting, "_page", once)
    bench.swept()
    assert bench.state(job) == "complete"


def test_the_job_file_knows_the_methods_by_name() -> None:
    """Each method of inference can be named in a job file, and the strongest is the default of both."""
    assert {*INFERENCE, "majority"} == {*METHODS, *OF_NUMBERS}
    assert STRONGEST == DEFAULT


def test_who_is_retired_is_no_voter_when_all_is_gone_over(bench: Bench) -> None:
    """Three that always say the same outvote two; by gold they are known, rated once more at the end, and left out."""
    rules = {"warn": False, "pause": False, "retire": {"accuracy": 0.6}}
    job = Job(count=TASKS, size=SIZE, judges=JUDGES, more={"method": "one-coin", "quality": rules})
    job.truths = [truth(p) if p % 2 else None for p in range(TASKS)]
    bench.take(*job.news())
    for suite in range(job.suites):
        for judge in JUDGES:
            said_of = [truth(p) if judge in ("good", "better") else "a" for p in job.positions(suite)]
            bench.take(job.judged(suite, said_of, judge=judge))
    assert right(bench.answers(job)) < TASKS
    names = [event.name for event in said(bench.swept())]
    assert names == ["worker.rated"] * 3 + ["job.completed"]
    assert bench.store.read(lambda c: ratings.out(c, job.id)) == {"x", "y", "z"}
    assert right(bench.answers(job)) == TASKS
    assert bench.counts(job) == (TASKS, TASKS, 0, 0, 0)


def test_what_is_left_of_a_task_is_gone_over(bench: Bench) -> None:
    """One who said otherwise, or nobody; what one alone has judged from the start stands as it is."""
    job = Job(count=3, size=3, judges=["good", "x"])
    bench.take(*job.news(), job.judged(0, ["a", "b", "c"], judge="good", positions=[0, 1, 2]))
    bench.take(job.judged(0, ["c", "c"], judge="x", positions=[0, 1]), job.failed(0, judge="x", positions=[2]))
    plan = Plan.of(JobSpec.model_validate(plain_spec(["good", "x"], method="one-coin")))
    (page,) = bench.store.read(lambda c: list(settled.pages(c, job.id))) or [[]]
    for out, positions, several in (
        (frozenset({"x"}), [0, 1], [True, True]),
        (frozenset({"good", "x"}), [], []),
        (frozenset(), [0, 1], [True, True]),
    ):
        votes = Gathered(plan, out)
        for state, _ in page:
            votes.add(state)
        assert (votes.positions.tolist(), [bool(one) for one in votes.several]) == (positions, several)
        assert not out & votes.voters.keys()
