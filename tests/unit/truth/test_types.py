"""The methods of every answer type over the same columns: what each makes of a small job, and blindness to names."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from manyhands.spec import Answer
from manyhands_aggregator.truth import types
from manyhands_aggregator.truth.types import METHODS, Columns, Type

#: For each type: what three workers say of the first task, two of the second; the answers; the truth of a third.
SAID: dict[str, tuple[list[Any], list[Any], Any]] = {
    "choice": (["a", "a", "b", "c", "c"], ["a", "c"], "b"),
    "choices": ([["a"], ["a", "c"], ["c"], [], []], [["a", "c"], []], ["b"]),
    "number": ([1.0, 1.0, 3.0, 7.0, 7.0], [None, 7.0], 50.0),
    "text": (["A b", "a b", "A b", "c", "c"], ["A b", "c"], "d"),
    "json": ([{"k": 1}, {"k": 1}, 2, None, None], [{"k": 1}, None], True),
}
ALL = [(type_, method) for type_, named in METHODS.items() for method in named]


def columns(type_: str, **more: Any) -> Columns:
    """The small job, of four tasks of which the last two nobody has judged."""
    task, worker = (np.array(column, np.int32) for column in ([0, 0, 0, 1, 1], [0, 1, 2, 0, 1]))
    options = ("a", "b", "c") if type_.startswith("choice") else ()
    return Columns(task=task, worker=worker, values=SAID[type_][0], tasks=4, workers=3, options=options, **more)


@pytest.mark.parametrize(("type_", "method"), ALL)
def test_a_small_job(type_: Type, method: str) -> None:
    """Every method gives an answer and a confidence to what was judged, and neither to what was not."""
    found = types.infer(type_, columns(type_), method)
    right = SAID[type_][1]
    if type_ == "number":
        assert 1 <= found.values[0] < 1.7
        assert found.values[1] == 7
    else:
        assert found.values[:2] == right
    assert found.values[2:] == [None, None]
    assert found.confidence[2:].tolist() == [0, 0]
    assert ((found.confidence[:2] > 0) & (found.confidence[:2] <= 1)).all()
    if found.skill is not None:
        assert ((found.skill >= 0) & (found.skill <= 1)).all()
        assert found.skill[0] >= found.skill[2] - 1e-6


@pytest.mark.parametrize(("type_", "method"), [one for one in ALL if one[0] in ("choice", "choices", "number")])
def test_gold_is_the_answer(type_: Type, method: str) -> None:
    """Where the truth is known it is the answer, judged or not, and sure."""
    found = types.infer(type_, columns(type_, gold={0: SAID[type_][2], 3: SAID[type_][2]}), method)
    assert [found.values[0], found.values[3]] == [SAID[type_][2]] * 2
    assert found.confidence[[0, 3]] == pytest.approx([1, 1])


@pytest.mark.parametrize(("type_", "method"), ALL)
def test_rows_in_another_order(type_: Type, method: str) -> None:
    """Change nothing."""
    one = columns(type_)
    order = list(range(5))
    random.Random(3).shuffle(order)
    other = Columns(
        task=one.task[order], worker=one.worker[order], values=[one.values[i] for i in order], tasks=4, workers=3,
        options=one.options,
    )  # fmt: skip
    before, after = types.infer(type_, one, method), types.infer(type_, other, method)
    assert after.values == pytest.approx(before.values) if type_ == "number" else after.values == before.values
    assert after.confidence == pytest.approx(before.confidence)


def test_the_range_of_numbers() -> None:
    """A twentieth of the answer type's range is near enough; with a wider range the same numbers are surer."""
    narrow = types.infer("number", columns("number", span=2.0), "mean")
    wide = types.infer("number", columns("number", span=20.0), "mean")
    assert (wide.confidence[:2] > narrow.confidence[:2]).all()


def test_every_answer_type_has_methods() -> None:
    """Those of the job file."""
    assert set(METHODS) == set(Answer.model_fields["type"].annotation.__args__)  # type: ignore[union-attr]


def test_what_is_not_known() -> None:
    """A method of another type."""
    with pytest.raises(KeyError):
        types.infer("text", columns("text"), "one-coin")
