"""Who judged a job and how well, from what the store has of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from manyhands import codec
from manyhands.errors import UnknownJob
from manyhands.messages import Failure, Judgments
from manyhands.spec import JobSpec
from manyhands.testing.crowd import KINDS, Crowd, simulate
from manyhands_aggregator import agreement, workers
from manyhands_aggregator.plan import Plan
from manyhands_aggregator.said import Columns
from manyhands_aggregator.workers import Measured
from manyhands_service.store import Store
from tests.unit.aggregator.kit import Bench, Job, open_store, plain_spec


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store of the aggregator."""
    return open_store(f"sqlite:///{tmp_path}/a.db")


def judged(store: Store, job: Job, said: dict[str, Sequence[Any]]) -> Measured:
    """What is measured in a job of which each judge says these values, in order; None is a failure."""
    bench = Bench(store)
    bench.take(*job.news())
    bench.judge(job, said)
    return workers.of_job(store, job.id)


def rows(measured: Measured) -> dict[str, dict[str, Any]]:
    """The ratings by worker."""
    return {row["worker"]: row for row in measured.ratings()}


@pytest.mark.parametrize("page", [1, 100])
def test_judges_against_gold(store: Store, page: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand, however many suites are read at once: half and all of the known ones; failures do not count."""
    monkeypatch.setattr(workers, "PAGE", page)
    job = Job(count=4, size=1, judges=["two", "one"], truths=["a", "b", "c", None])
    found = rows(judged(store, job, {"one": [*"abca"], "two": ["a", "a", None, "a"]}))
    assert list(found) == ["two", "one"]
    one, two = found["one"], found["two"]
    assert (one["judgments"], one["compared"], two["judgments"], two["compared"]) == (
        4,
        3,
        3,
        3,
    )  # d: one other, who may err
    assert one["accuracy_low"] < one["accuracy"] <= 1 == round(one["accuracy_high"])
    assert two["accuracy"] < one["accuracy"]
    assert (one["kind"], one["action"], one["pace"], one["copies"]) == ("machine", None, None, None)


def test_ids_of_before_there_was_a_limit(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that has them goes on and is measured."""
    job, bench, name = Job(count=2, size=2, judges=["people", "one"]), Bench(store), "w" * 500
    with monkeypatch.context() as before:
        before.setattr(codec, "WORKER_ID", re.compile(r"(?s).*"))
        bench.take(*job.news(), job.judged(0, judge="people", worker=name))
    bench.take(job.judged(0))
    measured = workers.of_job(store, job.id)
    assert [row["worker"] for row in measured.ratings()] == ["one", f"people/{name}"]
    assert measured.rating(name)["worker"] == f"people/{name}"


def test_one_worker_with_its_matrix(store: Store) -> None:
    """What it says of which option; rows are probabilities; and nobody else is there."""
    job = Job(count=30, size=10, judges=["one"], truths=[*"abc"] * 10)
    measured = judged(store, job, {"one": [*"aac"] * 10})
    row = measured.rating("one")
    assert row["confusion"]["b"]["a"] > 0.8
    assert row["confusion"]["c"]["c"] > 0.8
    assert all(sum(said.values()) == pytest.approx(1, abs=1e-3) for said in row["confusion"].values())
    with pytest.raises(UnknownJob, match=r"no worker 'two' .* such as one$"):
        measured.rating("two")


def test_numbers_near_the_others_are_right(store: Store) -> None:
    """Three agree up to small errors, one is far off and one always says the same; one truth is known, as text."""
    answer = {"type": "number"}
    job = Job(
        count=20, size=5, judges=["one", "two", "three", "wild", "flat"], more={"answer": answer},
        truths=["0.05", *[None] * 19],
    )  # fmt: skip
    steps = [float(n) for n in range(20)]
    said: dict[str, Sequence[Any]] = {
        "one": steps,
        "three": steps,
        "two": [n + 0.1 for n in steps],
        "wild": [100 - 7 * n for n in steps],
        "flat": [3.25] * 20,
    }
    found = rows(judged(store, job, said))
    assert found["one"]["accuracy"] > 0.8
    assert found["two"]["accuracy"] > 0.8
    assert found["wild"]["accuracy"] < 0.3
    assert found["flat"]["spam"] > 0.2
    assert (found["flat"]["repeats"], found["flat"]["action"]) == (1.0, "warn")
    assert max(found[name]["spam"] for name in ("one", "two", "three", "wild")) < 0.1  # that is wild on purpose
    assert found["one"].get("confusion") is None


@pytest.mark.parametrize(
    ("answer", "good", "bad", "truth"),
    [
        ({"type": "text"}, ["x", "y"], ["n", "n"], "x"),
        ({"type": "json"}, [{"k": 1}, [None]], [{"k": 2}, 0], '{"k": 1}'),
    ],
)
def test_texts_are_the_same_or_not(
    store: Store, answer: dict[str, Any], good: list[Any], bad: list[Any], truth: str
) -> None:
    """Two of three agree throughout; the known truth is theirs."""
    job = Job(count=20, size=5, judges=["one", "two", "odd"], more={"answer": answer}, truths=[truth, *[None] * 19])
    found = rows(judged(store, job, {"one": good * 10, "two": good * 10, "odd": bad * 10}))
    assert found["one"]["accuracy"] > 0.8  # that one of the two others says something else is not held against it
    assert found["odd"]["accuracy"] < 0.25


@pytest.mark.parametrize("mistakes", [0, 10])
def test_who_says_what_is_known_to_be_right_is_no_twin(store: Store, mistakes: int) -> None:
    """However seldom others would say it; two who make the same mistakes are twins."""
    truths = [f"word {n}" for n in range(40)]
    words = [f"mistake {n}" for n in range(mistakes)] + truths[mistakes:]
    said: dict[str, Sequence[Any]] = {"one": words, "two": words, "odd": ["n"] * 40}
    job = Job(count=40, size=5, judges=list(said), more={"answer": {"type": "text"}}, truths=truths)
    found = rows(judged(store, job, said))
    assert any(found[name]["twin"] for name in ("one", "two")) is bool(mistakes)


@pytest.mark.parametrize("answer", [{"type": "text"}, {"type": "json"}])
def test_known_truths_of_texts_count_more_than_others(store: Store, answer: dict[str, Any]) -> None:
    """Two who say the same are wrong where the truth is another, and one whom nobody bears out is right."""
    truths = [f"word {n}" for n in range(20)]
    said: dict[str, Sequence[Any]] = {"right": truths, "one": ["n"] * 20, "two": ["n"] * 20}
    found = rows(judged(store, Job(count=20, size=5, judges=list(said), more={"answer": answer}, truths=truths), said))
    assert found["right"]["accuracy"] > 0.9
    assert max(found["one"]["accuracy"], found["two"]["accuracy"]) < 0.2


def test_texts_are_the_same_as_the_method_reads_them(store: Store) -> None:
    """Who writes the same in capitals, or with a full stop, is as good as the others; so is a truth."""
    more = {"answer": {"type": "text"}, "method": "normalised"}
    words = [f"word {n}" for n in range(20)]
    job = Job(count=20, size=5, judges=["one", "two", "odd"], more=more, truths=["WORD 0", *[None] * 19])
    said: dict[str, Sequence[Any]] = {
        "one": words, "two": [f"{word}." for word in words], "odd": [word.upper() for word in words],
    }  # fmt: skip
    found = rows(judged(store, job, said))
    assert min(row["accuracy"] for row in found.values()) > 0.8
    assert max(row["spam"] for row in found.values()) < 0.1
    agreed = agreement.of_job(store, job.id)
    assert agreed is not None
    assert agreed["alpha"] == 1


@pytest.mark.parametrize("right", [1, 0])
def test_accuracy_lies_within_its_bounds(store: Store, right: int) -> None:
    """After the first judgment, too: 70 % is expected of somebody new, and one judgment does not change it by much."""
    job = Job(count=1, size=1, judges=["one", "two"], truths=["a"])
    found = rows(judged(store, job, {"one": ["a" if right else "b"], "two": ["a"]}))["one"]
    assert found["accuracy"] == pytest.approx((2.8 + right) / 5)
    assert found["accuracy_low"] < found["accuracy"] < found["accuracy_high"]


def test_each_label_is_a_question(store: Store) -> None:
    """A judgment of several labels counts once, and the matrix is that of a label's being there."""
    answer = {"type": "choices", "options": ["a", "b", "c"]}
    job = Job(count=30, size=10, judges=["one", "two"], more={"answer": answer}, truths=[["a"], '["b"]', []] * 10)
    measured = judged(store, job, {"one": [["a"], ["b"], []] * 10, "two": [["a", "b", "c"]] * 30})
    found = rows(measured)
    assert (found["one"]["judgments"], found["one"]["compared"]) == (30, 30)
    assert found["one"]["accuracy"] == pytest.approx(32.8 / 34, abs=1e-4)
    assert found["two"]["accuracy"] == pytest.approx((30 * 2 / 9 + 2.8) / 34, abs=1e-3)
    assert measured.rating("two")["confusion"]["without"]["with"] > 0.8
    assert (found["one"]["repeats"], found["two"]["repeats"]) == (0.0, 1.0)
    assert found["two"]["repeats_expected"] < 0.5


def test_slots_are_one_voter_and_people_are_many() -> None:
    """A machine that is asked twice counts once; each person counts; only people have a pace."""
    columns = Columns(Plan.of(JobSpec.model_validate(plain_spec(["one"]))))
    base = Judgments(
        job="j-1", suite=0, stage=0, judge="one", slot=0, worker="w", positions=[0, 1], values=["a", "b"], started=0.0,
        finished=4.0,
    )  # fmt: skip
    person = replace(base, judge="people", worker="ann", finished=9.0, errors={1: Failure(code="error", message="no")})
    said = [base, replace(base, slot=1, finished=3.0), person, replace(person, worker="bob", finished=2.0)]
    columns.add(said, 0, 2, None)
    ballots, _, seconds, truth = columns.ballots()
    assert list(columns.names) == ["one", "people/ann", "people/bob"]
    assert columns.machines.tolist() == [True, False, False]
    assert ballots.worker.tolist() == [2, 0, 0, 1]  # in the order in which they were finished
    assert seconds.tolist() == [1.0, 2.0, 2.0, 4.5]
    assert np.isnan(truth).all()


def test_a_crowd_of_people_is_told_apart() -> None:
    """Spammers of all kinds among people: named with their reasons, and the honest are left alone."""
    crowd = simulate(Crowd(tasks=500, classes=3, workers=25, random=0.08, constant=0.08, copying=0.08, seed=4))
    columns = Columns(Plan.of(JobSpec.model_validate(plain_spec(["one"]))))
    names = [f"{KINDS[kind]}-{n}" for n, kind in enumerate(crowd.kind)]
    by_task: dict[int, list[Judgments]] = {}
    for at, (task, worker, label) in enumerate(zip(crowd.task, crowd.worker, crowd.label, strict=True)):
        by_task.setdefault(int(task), []).append(
            Judgments(
                job="j-1", suite=int(task), stage=0, judge="people", slot=0, worker=names[worker],
                positions=[int(task)], values=["abc"[label]], started=at - float(crowd.seconds[at]), finished=float(at),
            )
        )  # fmt: skip
    for task, messages in by_task.items():
        columns.add(messages, task, 1, None)
    measured = workers.measure(columns, share=1.0)
    found = rows(measured)
    out = {name for name, row in found.items() if row["action"] in ("pause", "retire")}
    assert out == {f"people/{name}" for name in names if not name.startswith("honest")}
    copier = next(n for n, kind in enumerate(crowd.kind) if KINDS[kind] == "copying")
    assert found[f"people/{names[copier]}"]["copies"] == f"people/{names[crowd.victim[copier]]}"
    assert found[f"people/{names[copier]}"]["pace"] < 0.5
    assert all(row["reasons"] for row in found.values() if row["action"])


def test_of_a_large_job_some_suites_are_looked_at(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole ones, spread evenly."""
    monkeypatch.setattr(workers, "LIMIT", 10)
    job = Job(count=40, size=2, judges=["one"])
    measured = judged(store, job, {"one": ["a"] * 40})
    assert measured.share == pytest.approx(1 / 4)
    assert rows(measured)["one"]["judgments"] == 10


def test_nothing_is_judged_yet(store: Store) -> None:
    """No rows; an unknown job is said to be unknown."""
    bench, job = Bench(store), Job()
    bench.take(*job.news())
    assert workers.of_job(store, job.id).ratings() == []
    with pytest.raises(UnknownJob):
        workers.of_job(store, "nobody")
