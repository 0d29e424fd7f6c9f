"""Is this value an answer? Checks whole columns, by the job's answer type; pure."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jsonschema

from manyhands.spec import Answer

#: Given a value, returns it in its normal form; raises ValueError with what is wrong.
Check = Callable[[Any], Any]


def check(answer: Answer) -> Check:
    """The check of one value.

    Normal forms: a choice is text, choices follow the order of the options, a number is a float.
    """
    return _CHECKS[answer.type](answer)


def check_column(answer: Answer, one: Check, values: Sequence[Any]) -> tuple[Sequence[Any], Mapping[int, str]]:
    """Check a column: the values in normal form, and what is wrong at which index.

    A wrong value stands as None in the column. A column of plain right choices, the common case, costs a set a suite
    and nothing a task.
    """
    if answer.type == "choice":
        try:
            if set(values) <= set(answer.options or ()):
                return values, {}
        except TypeError:
            pass  # something unhashable is among them; the loop below names it
    normal: list[Any] = []
    wrong: dict[int, str] = {}
    for index, value in enumerate(values):
        try:
            normal.append(one(value))
        except ValueError as error:
            normal.append(None)
            wrong[index] = str(error)
    return normal, wrong


def same(answer: Answer, one: Check, value: Any, truth: Any) -> bool:
    """Whether an answer is the truth, both in normal form; numbers agree to nine digits."""
    try:
        normal = one(float(truth) if answer.type == "number" and isinstance(truth, str) else truth)
    except ValueError:
        return False
    if answer.type == "number":
        return math.isclose(value, normal, rel_tol=1e-9, abs_tol=1e-9)
    return bool(value == normal)


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
        if not math.isfinite(value):
            raise ValueError(f"{value} is not finite")
        if not low <= value <= high:
            raise ValueError(f"{value} is not between {low:g} and {high:g}")
        return float(value)

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
    validator = jsonschema.Draft202012Validator(answer.json_schema or {})

    def one(value: Any) -> Any:
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(f"no JSON: {error}") from error
        wrong = jsonschema.exceptions.best_match(validator.iter_errors(value))
        if wrong is not None:
            raise ValueError(f"{wrong.json_path}: {wrong.message}"[:300])
        return value

    return one


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


_CHECKS: dict[str, Callable[[Answer], Check]] = {
    "choice": _choice,
    "choices": _choices,
    "number": _number,
    "text": _text,
    "json": _json,
}
