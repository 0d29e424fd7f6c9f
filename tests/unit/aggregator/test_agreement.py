"""Agreement of a job's judges, from what the store has of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from manyhands.errors import UnknownJob
from manyhands_aggregator import agreement
from manyhands_service.store import Store
from tests.unit.aggregator.kit import Bench, Job, open_store


def judged(store: Store, job: Job, said: dict[str, list[Any]]) -> dict[str, Any] | None:
    """What is reported of a job of which each judge says these values, in order; None is a failure."""
    bench = Bench(store)
    bench.take(*job.news())
    bench.judge(job, said)
    return agreement.of_job(store, job.id)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store of the aggregator."""
    return open_store(f"sqlite:///{tmp_path}/a.db")


@pytest.mark.parametrize("page", [1, 100])
def test_options(store: Store, page: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Krippendorff's alpha, both kappas, what is confused, and the hardest tasks, however many suites are read at once.

    Of 12 pairs of judgments 10 agree; each of a and b is said 12 times: Do = 2/12, De = 2 x 12 x 12 / (24 x 23).
    """
    monkeypatch.setattr(agreement, "PAGE", page)
    job = Job(count=13, size=2, judges=["one", "two"])
    one, two = [*"aaaaaabbbbbb", "a"], [*"aaaaabbbbbba", None]
    said = judged(store, job, {"one": one, "two": two})
    assert said is not None
    assert said["alpha"] == pytest.approx(1 - (2 / 12) / (2 * 12 * 12 / (24 * 23)), abs=1e-6)
    assert (said["tasks"], said["alpha_interval"]) == (12, None)
    assert said["observed"] == pytest.approx(10 / 12, abs=1e-6)
    assert said["fleiss_kappa"] == said["cohen_kappa"] == pytest.approx(2 / 3, abs=1e-6)
    assert said["pairs"] == [{"judges": ["one", "two"], "tasks": 12, "kappa": said["cohen_kappa"]}]
    a = {"option": "a", "judgments": 12, "agreed": pytest.approx(10 / 12, abs=1e-6)}
    assert said["options"][0] == {**a, "taken_for": "b", "share": pytest.approx(2 / 12, abs=1e-6)}
    assert said["options"][2] == {"option": "c", "judgments": 0, "agreed": None}
    assert said["hardest"] == [
        {"position": 5, "bits": 1.0, "votes": {"a": 1, "b": 1}},
        {"position": 11, "bits": 1.0, "votes": {"b": 1, "a": 1}},
    ]


def test_slots_of_one_judge_are_one_voter(store: Store) -> None:
    """A program asked twice agrees with itself; that is no agreement."""
    job = Job(count=2, judges=[{"one": 2}])
    assert judged(store, job, {"one": ["a", "b"]}) is None
    bench, both = Bench(store), Job(count=4, judges=[{"one": 2}, "two"])
    bench.take(*both.news())
    for suite in (0, 1):
        bench.take(both.judged(suite, ["a", "b"], slot=1), both.judged(suite, ["a", "b"]))
        bench.take(both.judged(suite, ["b", "a"], judge="two"))
    said = agreement.of_job(store, both.id)
    assert said is not None
    assert (said["observed"], said["tasks"]) == (0.0, 4)


@pytest.mark.parametrize(
    ("answer", "one", "two", "alpha", "hardest"),
    [
        # one task has a variance of 2, all of 1, 1, 2, 4, 6, 6 have squares of 94 - 400 / 6 about their mean
        (
            {"type": "number"},
            [1, 2, 6],
            [1, 4, 6],
            1 - 5 * 4 / (6 * (94 - 400 / 6)),
            {"deviation": 1.414214, "mean": 3},
        ),
        # two of six judgments differ, each of two values that were said once; two were said twice
        ({"type": "text"}, ["x", "y", "z"], ["x", "q", "z"], 1 - 5 * 2 / (36 - 10), {"votes": {"y": 1, "q": 1}}),
        ({"type": "json"}, [{"k": 1}, 2, [3]], [{"k": 1}, 5, [3]], 1 - 5 * 2 / (36 - 10), {"votes": {"2": 1, "5": 1}}),
        # a: nobody differs, 2 of 6 say it; b: two differ, 5 of 6 say it
        (
            {"type": "choices", "options": ["a", "b"]},
            [["b"], ["a"], ["b"]],
            [["b"], ["a", "b"], ["b"]],
            1 - 5 * (0 + 2) / (2 * 2 * 4 + 2 * 5 * 1),
            {"votes": {'["a"]': 1, '["a", "b"]': 1}},
        ),
    ],
)
def test_other_types(
    store: Store, answer: dict[str, Any], one: list[Any], two: list[Any], alpha: float, hardest: dict[str, Any]
) -> None:
    """Numbers by their distance, texts and json by being the same, sets by the labels that one has and one has not."""
    job = Job(count=3, judges=["one", "two"], more={"answer": answer})
    said = judged(store, job, {"one": one, "two": two})
    assert said is not None
    (hard,) = said["hardest"]
    assert {key: hard[key] for key in ("position", *hardest)} == {"position": 1, **hardest}
    assert said["alpha"] == pytest.approx(alpha, abs=1e-6)


def test_unknown(store: Store) -> None:
    """As everywhere, by a name of its own."""
    with pytest.raises(UnknownJob):
        agreement.of_job(store, "nobody")
