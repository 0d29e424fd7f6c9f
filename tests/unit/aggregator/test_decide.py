"""Decisions worked by hand, and columns that no order of messages changes."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyhands.messages import Failure, Judgments
from manyhands.spec import Answer, parse
from manyhands_aggregator import merge
from manyhands_aggregator.decide import NO_JUDGMENT, Decision, decide, rule
from manyhands_aggregator.merge import NOTHING, Column
from manyhands_aggregator.plan import Plan
from manyhands_aggregator.suite import pack_answers, unpack_answers

CHOICE = Answer(type="choice", options=["a", "b", "c"])
LABELS = Answer(type="choices", options=["x", "y", "z"])
NUMBER = Answer(type="number")
BOUNDED = Answer(type="number", min=0, max=10)
JSON = Answer(type="json")
TEXT = Answer(type="text")


def one(
    method: str,
    answer: Answer,
    values: Sequence[Any],
    confidences: Sequence[float | None] | None = None,
    weights: Sequence[float] | None = None,
) -> tuple[Any, Any, int, int]:
    """The answer to one task that these judges judged: value, confidence, judgments, ties."""
    columns = [
        Column([v], None if confidences is None else [confidences[i]], {}, 1 if v is not NOTHING else 0)
        for i, v in enumerate(values)
    ]
    decision = decide(columns, weights or [1.0] * len(values), rule(method, answer))  # type: ignore[arg-type]
    return decision.values[0], decision.confidences[0], decision.counts[0], decision.ties


@pytest.mark.parametrize(
    ("values", "confidences", "expected"),
    [
        (["a"], None, ("a", 1.0, 1, 0)),
        (["a"], [0.7], ("a", 0.7, 1, 0)),
        (["a", "a", "a"], [0.1, 0.2, 0.3], ("a", 1.0, 3, 0)),
        (["b", "a", "a"], None, ("a", 2 / 3, 3, 0)),
        (["b", "a"], [0.9, 0.8], ("b", 0.5, 2, 1)),
        (["b", "a"], [0.8, 0.8], ("a", 0.5, 2, 1)),
        (["b", "a"], [None, 0.1], ("a", 0.5, 2, 1)),
        (["c", "b", "a"], None, ("a", 1 / 3, 3, 1)),
        (["b", "b", "a", "a"], [0.5, 0.5, 0.6, 0.3], ("b", 0.5, 4, 1)),
        ([NOTHING, "b", "b"], None, ("b", 1.0, 2, 0)),
        (["c", NOTHING, NOTHING], [0.4, None, None], ("c", 0.4, 1, 0)),
    ],
)
def test_majority(values: list[Any], confidences: list[float | None] | None, expected: tuple[Any, ...]) -> None:
    """The share of the votes; a tie goes to the higher stated confidence, then to the option named first."""
    assert one("majority", CHOICE, values, confidences) == pytest.approx(expected)


def test_texts() -> None:
    """Form does not count; or every word has its vote. No tie rule of the plan is needed, and none decides."""
    said = ["Main St", "main st.", "Maine St.", NOTHING]
    assert one("normalised", TEXT, said) == ("Main St", 2 / 3, 3, 0)
    assert one("rover", TEXT, said) == ("Main St", pytest.approx(5 / 6), 3, 0)
    assert one("majority", TEXT, said)[1] == pytest.approx(1 / 3)
    assert one("rover", TEXT, ["a b"], [0.3]) == ("a b", 0.3, 1, 0)


def test_a_tie_of_texts_goes_to_the_judge_named_first() -> None:
    """Where there are no options, the order of the plan decides."""
    assert one("majority", TEXT, ["second", "first"]) == ("second", 0.5, 2, 1)


@pytest.mark.parametrize(
    ("values", "weights", "confidences", "expected"),
    [
        (["a", "b", "b"], [3.0, 1.0, 1.0], None, ("a", 0.6, 3, 0)),
        (["a", "b"], [2.0, 2.0], [0.5, 1.0], ("b", 2 / 3, 2, 0)),
        (["a", "b", "b"], [0.3, 0.1, 0.2], None, ("a", 0.5, 3, 1)),
        (["b", "a"], [1.0, 1.0], [0.0, 0.0], ("a", 0.0, 2, 1)),
    ],
)
def test_weighted(values: list[Any], weights: list[float], confidences: Any, expected: tuple[Any, ...]) -> None:
    """A vote counts its judge's weight times its confidence; 0.1 + 0.2 ties with 0.3."""
    assert one("weighted", CHOICE, values, confidences, weights) == pytest.approx(expected)


def test_first() -> None:
    """The first judge of the plan that has a value is believed."""
    assert one("first", CHOICE, ["b", "a", "a"], [0.3, None, None]) == ("b", 0.3, 3, 0)
    assert one("first", NUMBER, [NOTHING, 4.0, 5.0]) == (4.0, 1.0, 2, 0)


@pytest.mark.parametrize(
    ("method", "answer", "values", "value", "confidence"),
    [
        ("mean", BOUNDED, [2.0, 4.0, 6.0], 4.0, 1 - (4 / 3) / 10),
        ("mean", NUMBER, [2.0, 4.0, 6.0], 4.0, 1 - (4 / 3) / 4),
        ("median", BOUNDED, [1.0, 2.0, 9.0], 2.0, 1 - (8 / 3) / 10),
        ("median", BOUNDED, [1.0, 2.0, 3.0, 9.0], 2.5, 1 - 2.25 / 10),
        ("mean", NUMBER, [5.0, 5.0], 5.0, 1.0),
        ("mean", NUMBER, [-1.0, 1.0], 0.0, 0.0),
        ("mean", NUMBER, [0.0, 0.0], 0.0, 1.0),
        ("mean", Answer(type="number", min=3, max=3), [3.0, 3.0], 3.0, 1.0),
        ("mean", NUMBER, [1.7e308, 1.7e308], 1.7e308, 1.0),
        ("median", NUMBER, [1.7e308, 1.7e308], 1.7e308, 1.0),
        ("mean", NUMBER, [-1.7e308, 1.7e308], 0.0, 0.0),
        ("mean", Answer(type="number", min=-1.7e308, max=1.7e308), [-1.7e308, 1.7e308], 0.0, None),
    ],
)
def test_numbers(method: str, answer: Answer, values: list[float], value: float, confidence: float | None) -> None:
    """Confidence is 1 - d / r; numbers at the ends of the range do not overflow."""
    said, share, count, ties = one(method, answer, values)
    assert said == pytest.approx(value)
    assert confidence is None or share == pytest.approx(confidence)
    assert 0 <= share <= 1
    assert (count, ties) == (len(values), 0)


def test_labels() -> None:
    """Each label is voted on by itself; one that is tied is left out; confidence is the mean over the labels."""
    assert one("majority", LABELS, [["x"], ["x", "y"], ["x", "z"]]) == (
        ["x"],
        pytest.approx((1 + 2 / 3 + 2 / 3) / 3),
        3,
        0,
    )
    assert one("majority", LABELS, [["x"], ["x", "y"]]) == (["x"], pytest.approx((1 + 0.5 + 1) / 3), 2, 1)
    assert one("majority", LABELS, [["y"], ["y"]]) == (["y"], 1.0, 2, 0)
    assert one("majority", LABELS, [[], []]) == ([], 1.0, 2, 0)
    assert one("weighted", LABELS, [["x"], ["y"]], None, [3.0, 1.0]) == (
        ["x"],
        pytest.approx((0.75 + 0.75 + 1) / 3),
        2,
        0,
    )


def test_json_is_compared_in_its_canonical_form() -> None:
    """The order of keys is no matter; true is not 1."""
    assert one("majority", JSON, [{"a": 1, "b": 2}, {"c": 0}, {"b": 2, "a": 1}])[:2] == (
        {"a": 1, "b": 2},
        pytest.approx(2 / 3),
    )
    assert one("majority", JSON, [True, 1, 1])[0] == 1
    assert one("majority", JSON, [True, 1, 1])[0] is not True
    assert one("majority", JSON, [None, None, 0]) == (None, pytest.approx(2 / 3), 3, 0)


def test_a_task_without_any_value_fails_of_its_first_error() -> None:
    """The first judge's error in the order of the plan is told."""
    broke, later = Failure(code="error", message="1"), Failure(code="time-limit", message="2")
    columns = [
        Column(["a", NOTHING, NOTHING, NOTHING], None, {1: broke}, 2),
        Column([NOTHING, NOTHING, "b", NOTHING], None, {1: later}, 2),
    ]
    decision = decide(columns, [1.0, 1.0], rule("majority", CHOICE))
    assert decision.values == ["a", None, "b", None]
    assert decision.errors == {1: broke, 3: NO_JUDGMENT}
    assert decision.confidences == [1.0, None, 1.0, None]
    assert decision.counts == [1, 0, 1, 0]
    overdue = Failure(code="deadline", message="3")
    assert decide(columns, [1.0, 1.0], rule("majority", CHOICE), overdue).errors == {1: broke, 3: overdue}


@given(
    st.lists(st.one_of(st.none(), st.text(), st.floats(allow_nan=False), st.lists(st.integers(0, 9))), min_size=1),
    st.booleans(),
)
def test_answers_survive_their_packing(values: list[Any], uniform: bool) -> None:
    """What is kept of a decision is what was decided."""
    confidences = [0.5 if uniform else i / 100 for i in range(len(values))]
    errors = {0: Failure(code="c", message="m")}
    decision = Decision(values, confidences, [2] * len(values), errors)
    assert unpack_answers(pack_answers(decision)) == decision


# -- merge -------------------------------------------------------------------------------------------------------------

SPEC = parse({"name": "x", "answer": {"type": "choice", "options": ["a", "b", "c"]}, "stages": [{"judges": ["one"]}]})


def _part(positions: Sequence[int], truth: dict[int, str | None], stated: dict[int, float] | None) -> Judgments:
    errors = {p: Failure(code="error", message="m") for p in positions if truth[p] is None}
    return Judgments(
        job="j", suite=0, stage=0, judge="one", slot=0, worker="w", positions=list(positions),
        values=[truth[p] for p in positions], confidences=None if stated is None else [stated[p] for p in positions],
        errors=errors,
    )  # fmt: skip


def _column(messages: Sequence[Judgments], first: int, count: int) -> Column:
    """As the suite does it: of each message what is new, then all of it."""
    kept: list[Judgments] = []
    for message in messages:
        new = merge.news(message, kept)
        if new is not None:
            kept.append(new)
    return merge.column(kept, first, count)


@given(st.data())
def test_any_order_repetition_and_splitting_gives_the_same_column(data: st.DataObject) -> None:
    """What a slot has said of a suite does not depend on how it was put into messages."""
    first, count = data.draw(st.integers(0, 5)), data.draw(st.integers(1, 8))
    positions = range(first, first + count)
    truth = {p: data.draw(st.sampled_from(["a", "b", None])) for p in positions}
    stated = data.draw(st.sampled_from([None, {p: p / 20 for p in positions}]))
    parts = []
    for _ in range(data.draw(st.integers(1, 5))):
        some = data.draw(st.lists(st.sampled_from(positions), unique=True, min_size=1))
        parts.append(_part(some, truth, stated))
    missing = [p for p in positions if not any(p in part.positions for part in parts)]
    if missing:
        parts.append(_part(missing, truth, stated))
    shuffled = [*parts, *data.draw(st.lists(st.sampled_from(parts)))]
    random.Random(data.draw(st.integers())).shuffle(shuffled)
    whole = _column([_part(list(positions), truth, stated)], first, count)
    found = _column(shuffled, first, count)
    assert list(found.values) == [NOTHING if truth[p] is None else truth[p] for p in positions]
    assert dict(found.errors) == {p - first: Failure(code="error", message="m") for p in positions if truth[p] is None}
    assert found.covered == whole.covered == count
    values = [i for i, v in enumerate(found.values) if v is not NOTHING]
    if stated is not None and values:
        assert found.confidences is not None
        assert [found.confidences[i] for i in values] == [stated[first + i] for i in values]


def test_one_message_in_another_order() -> None:
    """A whole suite in one message, its first and last position in place and others not: each value finds its own."""
    truth: dict[int, str | None] = {0: "a", 1: "b", 2: "c", 3: "a"}
    assert _column([_part([0, 2, 1, 3], truth, None)], 0, 4).values == ["a", "b", "c", "a"]


@given(st.permutations(range(3)))
def test_a_value_beats_an_error_in_any_order(order: Sequence[int]) -> None:
    """A failure, another failure and a value of the same task: the value stands."""
    failure = _part([0, 1], {0: None, 1: None}, None)
    value = _part([0], {0: "a"}, None)
    messages = [failure, value, failure]
    found = _column([messages[i] for i in order], 0, 2)
    assert found.values == ["a", NOTHING]
    assert list(found.errors) == [1]
    assert found.covered == 2


def test_what_a_slot_said_first_stays() -> None:
    """A judge that guesses, asked twice, is held to its first word."""
    assert _column([_part([0], {0: "a"}, None), _part([0], {0: "b"}, None)], 0, 1).values == ["a"]


def test_the_plan_names_slots_in_its_order() -> None:
    """Two judgments of one judge are two slots with its weight."""
    stages = [{"judges": [{"judge": "one", "judgments": 2, "weight": 2.0}, "two"]}]
    plan = Plan.of(parse({"name": "x", "answer": {"type": "text"}, "stages": stages}))
    assert plan.slots == [(0, "one", 0), (0, "one", 1), (0, "two", 0)]
    assert plan.weights == [2.0, 2.0, 1.0]
