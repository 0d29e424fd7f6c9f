"""JSON Schemas of answers: what is taken, what each keyword says, and that every check ends soon."""

from __future__ import annotations

import time
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyhands.errors import SpecError
from manyhands.jsonschemas import DEPTH, check, validator
from manyhands.spec import parse, received

#: Seconds that a check may take on a machine that has other work: an engine that goes back takes longer than the test.
SOON = 5.0
PLAIN = {"name": "x", "stages": [{"judges": ["a"]}]}


def nested(depth: int) -> dict[str, Any]:
    """A schema so deep."""
    schema: dict[str, Any] = {}
    for _ in range(depth):
        schema = {"not": schema}
    return schema


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "objct"}, "schema is no JSON Schema"),
        (nested(DEPTH + 1), "nested deeper than 64"),
        (nested(900), "nested deeper than 64"),
        ({"properties": {"a": {"pattern": "(?=a)b"}}}, "look-around and back-references never"),
        ({"pattern": r"(a)\1"}, "look-around and back-references never"),
        ({"pattern": "(a"}, "cannot be used"),
        ({"pattern": "a{1000}{1000}{1000}"}, "cannot be used"),
        ({"patternProperties": {"(a": {}}}, "cannot be used"),
        ({"patternProperties": {"a": {}}, "unevaluatedProperties": False}, "use additionalProperties"),
    ],
)
def test_what_is_not_taken(schema: dict[str, Any], said: str) -> None:
    """A schema that could not be applied is refused with its job, in one sentence; one that was taken is kept."""
    job = {**PLAIN, "answer": {"type": "json", "schema": schema}}
    with pytest.raises(SpecError) as caught:
        parse(job)
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert received(job).answer.json_schema == schema


def test_what_only_looks_like_a_pattern_is_taken() -> None:
    """The name of a property, and a value in a list of values, are no patterns."""
    check({"properties": {"pattern": {"type": "string"}}, "enum": [{"pattern": "(a"}], "const": {"pattern": "(?=a)"}})


BOMB = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n - 1}"}] * 2} for n in range(1, 40)}
TREE: Any = "leaf"
for _ in range(60):
    TREE = {"a": TREE}

#: Schemas, and values for which they would take years; and what is said.
SLOW: dict[str, tuple[dict[str, Any], Any, str]] = {
    "a pattern that goes back": ({"pattern": "^(a+)+$"}, "a" * 100_000 + "!", "does not match"),
    "one that goes back less": ({"pattern": "^a*a*a*a*a*a*b"}, "a" * 20_000, "does not match"),
    "names": (
        {"patternProperties": {"^(a+)+$": {}}, "additionalProperties": False},
        {"a" * 99_000 + "!": 1},
        "unexpec",
    ),
    "references that double": ({"$defs": {"d0": {}, **BOMB}, "$ref": "#/$defs/d39"}, 1, "references for one value"),
    "references down a tree": ({"properties": {"a": {"allOf": [{"$ref": "#"}] * 2}}}, TREE, "references for one value"),
    "round in a circle": ({"$ref": "#"}, 1, "cannot be applied"),
    "by way of a URL": ({"$ref": "http://169.254.169.254/latest"}, 1, "cannot be applied"),
    "by way of a file": ({"$ref": "file:///etc/passwd"}, 1, "cannot be applied"),
    "many items to compare": ({"uniqueItems": True}, [{"n": n % 60_000} for n in range(60_001)], "comes twice"),
}


@pytest.mark.parametrize("case", SLOW)
def test_a_check_ends_soon(case: str) -> None:
    """Whoever writes the schema, and whoever the value: the checks of other answers do not wait for this one."""
    schema, value, said = SLOW[case]
    begun = time.monotonic()
    assert said in (validator(schema)(value) or "")
    assert time.monotonic() - begun < SOON


def test_references_are_counted_for_each_value() -> None:
    """What one value spends is not missing for the next."""
    wrong = validator({"$defs": {"n": {"type": "number"}}, "items": {"$ref": "#/$defs/n"}})
    assert [wrong([1] * 1500) for _ in range(5)] == [None] * 5


SCHEMAS: list[dict[str, Any]] = [
    {"pattern": "^a"}, {"pattern": "b$"}, {"uniqueItems": True}, {"uniqueItems": False},
    {"additionalProperties": False}, {"additionalProperties": {"type": "string"}},
    {"properties": {"a": {}}, "additionalProperties": False},
    {"properties": {"a": {}}, "patternProperties": {"^b": {"type": "integer"}}, "additionalProperties": False},
    {"patternProperties": {"a|b": {"type": "string"}}}, {"items": {"pattern": "[ab]+"}},
    {"$defs": {"s": {"type": ["string", "boolean"]}}, "items": {"$ref": "#/$defs/s"}},
]  # fmt: skip
SCALARS = st.none() | st.booleans() | st.integers(-2, 2) | st.text("abc", max_size=3)
VALUES = st.recursive(
    SCALARS, lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text("abc", max_size=2), below, max_size=3)
)


@given(st.sampled_from(SCHEMAS), VALUES)
def test_keywords_say_what_they_always_say(schema: dict[str, Any], value: Any) -> None:
    """Where jsonschema itself is quick, it comes to the same."""
    assert (validator(schema)(value) is None) == jsonschema.Draft202012Validator(schema).is_valid(value)
