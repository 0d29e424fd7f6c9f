"""Handlers over the tasks of a suite, in this process."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyhands import Judgment, RetryTask
from manyhands_worker.judging import NoJudgment, batch, each, packable, sort


def picky(payload: int) -> int:
    """Judges even numbers only."""
    if payload % 2:
        raise ValueError(f"{payload} is odd")
    return payload * 10


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=60))
def test_each_and_batch_agree(payloads: list[int]) -> None:
    """Whichever tasks raise: every other task gets its own value, at its own place."""
    one = each(picky)
    many = batch(lambda items: [picky(item) for item in items], None, 60)
    for judge in (one, many):
        said = judge(range(len(payloads)), payloads)
        assert len(said) == len(payloads)
        for payload, value in zip(payloads, said, strict=True):
            assert isinstance(value, ValueError) if payload % 2 else value == payload * 10


def test_no_task_is_judged_twice_by_a_plain_handler() -> None:
    """After an exception it goes on with the next task."""
    seen: list[int] = []

    def judge(payload: int) -> int:
        seen.append(payload)
        return picky(payload)

    each(judge)(range(5), [0, 1, 2, 3, 4])
    assert seen == [0, 1, 2, 3, 4]


def test_a_batch_to_be_tried_later_is_not_halved() -> None:
    """RetryTask concerns the whole call: asking again with fewer would only hammer."""
    calls = []

    def busy(items: list[int]) -> list[int]:
        calls.append(items)
        raise RetryTask("busy")

    said = batch(busy, None, 60)(range(4), [1, 2, 3, 4])
    assert len(calls) == 1
    assert all(isinstance(one, RetryTask) for one in said)


def test_patience_ends() -> None:
    """Past its patience a batch is halved no more, and shares the error."""
    calls = []

    def broken(items: list[int]) -> list[int]:
        calls.append(items)
        raise ValueError("always")

    said = batch(broken, None, -1)(range(4), [1, 2, 3, 4])
    assert len(calls) == 1
    assert all(isinstance(one, ValueError) for one in said)


@pytest.mark.parametrize(
    ("said", "values", "confidences", "failed"),
    [
        (["a", 1, None], ["a", 1, None], None, []),
        ([Judgment("a", 0.5), Judgment("b", 1.0)], ["a", "b"], [0.5, 1.0], []),
        ([Judgment("a", 1), "b"], ["a", "b"], [1.0, None], []),
        ([Judgment("a"), Judgment("b")], ["a", "b"], None, []),
        ([Judgment("a", 0.5), Judgment("b", math.nan)], ["a", None], [0.5, None], [1]),
        ([Judgment("a", -0.1), Judgment("b", 0.1)], [None, "b"], [None, 0.1], [0]),
        ([Judgment("a", "sure"), "b"], [None, "b"], None, [0]),  # type: ignore[arg-type]  # what a handler may say
        (["a", ValueError("x")], ["a", None], None, [1]),
        ([ValueError("x"), Judgment("a", 0.5)], [None, "a"], [None, 0.5], [0]),
    ],
)
def test_sort(said: list[Any], values: list[Any], confidences: list[float | None] | None, failed: list[int]) -> None:
    """Values, judgments and exceptions, alone and mixed."""
    found = sort(said)
    assert (found[0], found[1], sorted(found[2])) == (values, confidences, failed)


def test_sort_costs() -> None:
    """What a judgment cost is a column of its own; a cost that is none from 0 fails its task."""
    assert sort([Judgment("a", 0.5), Judgment("b", 0.5)]).costs is None
    found = sort([Judgment("a", 0.5, 0.25), Judgment("b"), "c", Judgment("d", None, 0)])
    assert (found.values, found.costs) == (["a", "b", "c", "d"], [0.25, None, None, 0.0])
    for wrong in (-1, math.inf, math.nan, "much"):
        found = sort([Judgment("a", 0.5, wrong), Judgment("b", 0.5, 1.5)])  # type: ignore[arg-type]  # as above
        assert (found.values, found.confidences, found.costs) == ([None, "b"], [None, 0.5], [None, 1.5])
        assert "no number from 0" in str(found.errors[0])


def test_packable_keeps_what_is_plain() -> None:
    """Plain values stay as they are; an object fails alone, whatever it is nested in."""
    values: list[Any] = ["a", {"b": [1, (2, 3)]}, b"c", {"d": object()}, "\udcff"]
    errors = packable(values)
    assert values == ["a", {"b": [1, [2, 3]]}, b"c", None, None]
    assert sorted(errors) == [3, 4]
    assert all(isinstance(error, NoJudgment) for error in errors.values())


def test_people() -> None:
    """A judge that stands for people says who judged each task; who is no id fails that task alone."""
    assert sort([Judgment("a", 1.0), Judgment("b", 0.5)]).workers is None
    said = sort([Judgment("a", worker="ann"), Judgment("b"), Judgment("c", worker=""), Judgment("d", worker="x" * 201)])
    assert (said.values[:2], said.workers) == (["a", "b"], ["ann", None, None, None])
    assert sorted(said.errors) == [2, 3]
