"""Is this value an answer? Checks whole columns, by the job's answer type; pure."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from manyhands import jsonschemas
from manyhands.spec import Answer, JobSpec
from manyhands_aggregator.truth.nearness import is_near, reach
from manyhands_aggregator.truth.plain import plain

#: Given a value, returns it in its normal form; raises ValueError with what is wrong.
Check = Callable[[Any], Any]

#: Methods to which texts are the same that differ in case, spaces, punctuation and Unicode forms only.
PLAINLY = ("normalised", "rover")
#: How deep an answer of type json may be nested.
DEPTH = 64
#: Whole numbers below this are the same as a float and as an int.
EXACT = 2**53


def check(answer: Answer) -> Check:
    """The check of one value.

    Normal forms: a choice is text, choices follow the order of the options, a number is a float, and in json a whole
    number is no float, since 1 and 1.0 are the same there.
    """
    return _CHECKS[answer.type](answer)


def check_column(answer: Answer, one: Check, values: Sequence[Any]) -> tuple[Sequence[Any], Mapping[int, str]]:
    """Check a column: the values in normal form, and what is wrong at which index.

    A wrong value stands as None in the column. A column that is right as it is, the common case, is returned itself,
    and costs a pass or two in C.
    """
    if _plainly_right(answer, values):
        return values, {}
    normal: list[Any] = []
    wrong: dict[int, str] = {}
    for index, value in enumerate(values):
        try:
            normal.append(one(value))
        except ValueError as error:
            normal.append(None)
            wrong[index] = str(error)
    return normal, wrong


def _plainly_right(answer: Answer, values: Sequence[Any]) -> bool:
    """Whether every value is surely right and in normal form already; False says nothing."""
    kinds = set(map(type, values))
    if answer.type == "choice":
        return kinds == {str} and set(values) <= set(answer.options or ())
    if answer.type == "number":
        return (
            kinds == {float}
            and all(map(math.isfinite, values))
            and (answer.min is None or min(values) >= answer.min)
            and (answer.max is None or max(values) <= answer.max)
        )
    if answer.type == "text":
        return kinds == {str} and (answer.max_length is None or max(map(len, values)) <= answer.max_length)
    return False


def are_plain(spec: JobSpec) -> bool:
    """Whether answers are texts of which case, spaces and punctuation do not count: the method says so."""
    return spec.answer.type == "text" and spec.decide_by in PLAINLY


def same(spec: JobSpec, one: Check, value: Any, truth: Any) -> bool:
    """Whether an answer, in normal form, is right: a number near enough to the truth, a text as the method reads it.

    A truth from a CSV file is text: a number, a list or a map is read from it.
    """
    answer = spec.answer
    if are_plain(spec):
        return isinstance(truth, str) and plain(value) == plain(truth)
    if isinstance(truth, str) and answer.type in ("number", "choices", "json"):
        try:
            read = float(truth) if answer.type == "number" else json.loads(truth)
        except ValueError:
            read = truth
        return _same(answer, one, value, read) or _same(answer, one, value, truth)
    return _same(answer, one, value, truth)


def _same(answer: Answer, one: Check, value: Any, truth: Any) -> bool:
    try:
        normal = one(truth)
    except ValueError:
        return False
    if answer.type == "number":
        return bool(is_near(value, normal, reach(normal, answer.min, answer.max)))
    if answer.type == "json":
        return canonical(value) == canonical(normal)
    return bool(value == normal)


def canonical(value: Any) -> str:
    """A json answer in normal form as text that equal answers share: true is not 1, the order of keys is no matter."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _choice(answer: Answer) -> Check:
    options = set(answer.options or ())

    def one(value: Any) -> str:
        if type(value) is int:  # a handler that says 3 means "3"
            value = str(value)
        if not isinstance(value, str) or value not in options:
            raise ValueError(f"{_short(value)} is none of the options")
        return value

    return one


def _choices(answer: Answer) -> Check:
    order = {option: index for index, option in enumerate(answer.options or ())}

    def one(value: Any) -> list[str]:
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"{_short(value)} is no list of options")
        words = [str(v) if type(v) is int else v for v in value]
        unknown = [w for w in words if not isinstance(w, str) or w not in order]
        if unknown:
            raise ValueError(f"{_short(unknown[0])} is none of the options")
        return sorted(set(words), key=order.__getitem__)

    return one


def _number(answer: Answer) -> Check:
    low = -math.inf if answer.min is None else answer.min
    high = math.inf if answer.max is None else answer.max

    def one(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f"{_short(value)} is no number")
        try:
            number = float(value)
        except OverflowError as error:
            raise ValueError(f"{_short(value)} is too large") from error
        if not math.isfinite(number):
            raise ValueError(f"{number} is not finite")
        if not low <= number <= high:
            raise ValueError(f"{number:g} is not between {low:g} and {high:g}")
        return number

    return one


def _text(answer: Answer) -> Check:
    most = answer.max_length

    def one(value: Any) -> str:
        if not isinstance(value, str):
            raise ValueError(f"{_short(value)} is no text")
        if most is not None and len(value) > most:
            raise ValueError(f"a text of {len(value):,} characters, of at most {most:,}")
        return value

    return one


def _json(answer: Answer) -> Check:
    wrong = jsonschemas.validator(answer.json_schema or {})

    def one(value: Any) -> Any:
        normal = _normal(value, DEPTH)
        if (said := wrong(normal)) is not None:
            raise ValueError(said)
        return normal

    return one


def _normal(value: Any, depth: int) -> Any:
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"no JSON: {value} is not finite")
        return int(value) if value.is_integer() and abs(value) < EXACT else value
    if depth == 0:
        raise ValueError(f"nested deeper than {DEPTH}")
    if isinstance(value, (list, tuple)):
        return [_normal(v, depth - 1) for v in value]
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise ValueError("no JSON: a key is no text")
        return {key: _normal(v, depth - 1) for key, v in value.items()}
    raise ValueError(f"no JSON: {_short(value)}")


def _short(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # Python does not write out numbers of thousands of digits
        return f"a {type(value).__name__}"
    return text if len(text) <= 60 else text[:57] + "..."


_CHECKS: dict[str, Callable[[Answer], Check]] = {
    "choice": _choice,
    "choices": _choices,
    "number": _number,
    "text": _text,
    "json": _json,
}
