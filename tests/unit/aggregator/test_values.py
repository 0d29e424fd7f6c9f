"""What is an answer and what is not, for every answer type."""

from __future__ import annotations

import math
from typing import Any

import pytest

from manyhands.spec import Answer, JobSpec, Method
from manyhands_aggregator.values import check, check_column, same

CHOICE = Answer(type="choice", options=["0", "1", "two"])
LABELS = Answer(type="choices", options=["x", "y", "3"])
NUMBER = Answer(type="number")
BOUNDED = Answer(type="number", min=-1, max=1)
RANGED = Answer(type="number", min=0, max=100)
WIDE = Answer(type="number", min=-1.7e308, max=1.7e308)
POINT = Answer(type="number", min=7, max=7)
TEXT = Answer(type="text", max_length=3)
SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer", "minimum": 0}},
    "required": ["n"],
    "additionalProperties": False,
}
JSON = Answer(type="json", json_schema=SCHEMA)
FREE = Answer(type="json")


def job(answer: Answer, method: Method | None = None) -> JobSpec:
    """A job with such answers."""
    return JobSpec.model_validate({"name": "j", "answer": answer, "stages": [{"judges": ["a"]}], "method": method})


RIGHT: list[tuple[Answer, Any, Any]] = [
    (CHOICE, "1", "1"),
    (CHOICE, 1, "1"),
    (CHOICE, "two", "two"),
    (LABELS, [], []),
    (LABELS, ["y", "x", "y"], ["x", "y"]),
    (LABELS, [3, "x"], ["x", "3"]),
    (NUMBER, 3, 3.0),
    (NUMBER, -0.5, -0.5),
    (NUMBER, 1e308, 1e308),
    (BOUNDED, 1, 1.0),
    (BOUNDED, -1.0, -1.0),
    (TEXT, "", ""),
    (TEXT, "äöü", "äöü"),
    (JSON, {"n": 1}, {"n": 1}),
    (JSON, {"n": 1.0}, {"n": 1}),
    (FREE, None, None),
    (FREE, [1, 2.5, True, {"a": [None]}], [1, 2.5, True, {"a": [None]}]),
    (FREE, 1e300, 1e300),
]


@pytest.mark.parametrize(("answer", "value", "normal"), RIGHT, ids=str)
def test_right_values_in_normal_form(answer: Answer, value: Any, normal: Any) -> None:
    """A right value comes back in normal form, alone and in a column, and its normal form is its own."""
    found = check(answer)(value)
    assert found == normal
    assert type(found) is type(normal)
    assert check(answer)(normal) == normal
    column, wrong = check_column(answer, check(answer), [value, normal])
    assert (list(column), wrong) == ([normal, normal], {})


WRONG: list[tuple[Answer, Any, str]] = [
    (CHOICE, "2", "none of the options"),
    (CHOICE, None, "none of the options"),
    (CHOICE, True, "none of the options"),
    (CHOICE, 1.0, "none of the options"),
    (CHOICE, ["1"], "none of the options"),
    (CHOICE, b"1", "none of the options"),
    (LABELS, "x", "no list"),
    (LABELS, ["x", "z"], "'z' is none of the options"),
    (LABELS, [["x"]], "none of the options"),
    (LABELS, None, "no list"),
    (NUMBER, math.nan, "not finite"),
    (NUMBER, math.inf, "not finite"),
    (NUMBER, -math.inf, "not finite"),
    (NUMBER, True, "no number"),
    (NUMBER, "3", "no number"),
    (NUMBER, None, "no number"),
    (NUMBER, 10**400, "too large"),
    (BOUNDED, 1.0000001, "not between -1 and 1"),
    (BOUNDED, math.nan, "not finite"),
    (TEXT, "abcd", "4 characters, of at most 3"),
    (TEXT, 3, "no text"),
    (TEXT, None, "no text"),
    (JSON, {"n": -1}, "minimum"),
    (JSON, {}, "required"),
    (JSON, {"n": 1, "m": 2}, "Additional"),
    (JSON, None, "not of type 'object'"),
    (FREE, math.nan, "not finite"),
    (FREE, {"a": [math.inf]}, "not finite"),
    (FREE, {1: 2}, "a key is no text"),
    (FREE, b"bytes", "no JSON"),
]


@pytest.mark.parametrize(("answer", "value", "said"), WRONG)
def test_wrong_values_are_named(answer: Answer, value: Any, said: str) -> None:
    """A wrong value is told with what is wrong, alone and in a column, where it costs no other."""
    with pytest.raises(ValueError, match=said):
        check(answer)(value)
    good = next(normal for other, _, normal in RIGHT if other is answer)
    column, wrong = check_column(answer, check(answer), [good, value, good])
    assert list(column) == [good, None, good]
    assert list(wrong) == [1]
    assert said in wrong[1]


def test_nesting_has_an_end() -> None:
    """A value nested too deep is wrong, and breaks nothing."""
    value: Any = 0
    for _ in range(10_000):
        value = [value]
    with pytest.raises(ValueError, match="nested deeper"):
        check(FREE)(value)


@pytest.mark.parametrize(
    "schema",
    [{"$ref": "http://localhost:1/schema.json"}, {"$ref": "#/nowhere"}],
    ids=["remote", "nowhere"],
)
def test_a_schema_that_cannot_be_applied_fails_the_value(schema: dict[str, Any]) -> None:
    """The fault is the job file's; nothing is fetched, and no batch breaks on it."""
    one = check(Answer(type="json", json_schema=schema))
    with pytest.raises(ValueError, match="schema cannot be applied"):
        one("x")


@pytest.mark.parametrize(
    ("answer", "column"),
    [
        (CHOICE, ["1", "0", "two"]),
        (NUMBER, [1.0, 2.5]),
        (BOUNDED, [-1.0, 1.0]),
        (TEXT, ["a", "abc"]),
    ],
)
def test_a_column_that_is_right_costs_no_copy(answer: Answer, column: list[Any]) -> None:
    """It is returned itself, which tells that its own bytes can be kept."""
    assert check_column(answer, check(answer), column)[0] is column


@pytest.mark.parametrize(
    ("answer", "value", "truth", "is_same"),
    [
        (CHOICE, "1", "1", True),
        (CHOICE, "1", 1, True),
        (CHOICE, "1", "0", False),
        (CHOICE, "1", "nonsense", False),
        (LABELS, ["x", "y"], ["y", "x"], True),
        (LABELS, ["x", "y"], '["y", "x"]', True),
        (LABELS, ["x"], "x", False),
        (NUMBER, 0.1 + 0.2, 0.3, True),
        (NUMBER, 3.0, "3", True),
        (NUMBER, 3.0, "three", False),
        (NUMBER, 3.0, 3.001, True),  # without a range a twentieth of the truth
        (NUMBER, 3.0, 3.2, False),
        (NUMBER, 1e-8, 0.0, False),
        (RANGED, 5.0, 0, True),
        (RANGED, 5.01, 0, False),
        (WIDE, -1e308, 1e308, False),
        (POINT, 7.0, 7, True),
        (BOUNDED, 1.0, 7, False),
        (TEXT, "abc", "abc", True),
        (TEXT, "abc", "ABC", False),
        (JSON, {"n": 1}, {"n": 1.0}, True),
        (JSON, {"n": 1}, '{"n": 1}', True),
        (FREE, True, 1, False),
        (FREE, 1, 1, True),
        (FREE, "1", "1", True),
        (FREE, {"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
    ],
)
def test_same(answer: Answer, value: Any, truth: Any, is_same: bool) -> None:
    """Answers are compared with truths in normal form; what stands in a CSV file is read first."""
    assert same(job(answer), check(answer), value, truth) is is_same


@pytest.mark.parametrize("method", ["normalised", "rover", "majority"])
def test_texts_are_the_same_as_the_method_reads_them(method: Method) -> None:
    """Case, spaces and punctuation count where they count among the judgments."""
    spec = job(TEXT, method)
    assert same(spec, check(TEXT), "Abc!", "abc") is (method != "majority")
    assert same(spec, check(TEXT), "abc", "abd") is False
    assert same(spec, check(TEXT), "3", 3) is False
