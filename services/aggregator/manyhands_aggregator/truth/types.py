"""The methods for answers of every type, by their names, over plain columns of judgments."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from manyhands_aggregator.truth import labels, methods, numbers, texts
from manyhands_aggregator.truth.ballots import Ballots, Floats, Ints
from manyhands_aggregator.truth.inferred import UNKNOWN, answers
from manyhands_aggregator.truth.nearness import WITHIN

Type: TypeAlias = Literal["choice", "choices", "number", "text", "json"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """n judgments of T tasks by W workers, one row each, with values of any type; a worker judges a task at most once.

    ``task`` and ``worker`` (n,) count from 0, ``values`` (n) are in the normal form of their type. ``options`` are
    those of a choice or choices, in order; ``span`` is the range of a number's answer type, if it has one; ``gold`` has
    the truths that are known, by task.
    """

    task: Ints
    worker: Ints
    values: Sequence[Any]
    tasks: int
    workers: int
    options: Sequence[str] = ()
    span: float | None = None
    gold: Mapping[int, Any] | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What a method makes of a job.

    Attributes:
        values: the answer of each task (T), None where nobody judged.
        confidence: (T,), 0..1, what it means being the method's; 0 where nobody judged.
        skill: (W,), 0..1, where the method says anything of workers: the probability of being right, for choices the
            mean over the labels, for numbers that of being near enough.
    """

    values: list[Any]
    confidence: Floats
    skill: Floats | None = None


Method: TypeAlias = Callable[[Columns], Found]


def choice(columns: Columns, method: str) -> Found:
    """One option by a method for choices; the confidence is its posterior probability."""
    codes = {option: code for code, option in enumerate(columns.options)}
    label = np.fromiter((codes[value] for value in columns.values), np.int32, len(columns.values))
    ballots = Ballots(columns.task, columns.worker, label, columns.tasks, columns.workers, max(1, len(codes)))
    gold = None
    if columns.gold:
        gold = np.full(columns.tasks, UNKNOWN, np.int32)
        for task, truth in columns.gold.items():
            gold[task] = codes[truth]
    found = methods.infer(ballots, method, gold=gold)
    best = answers(found.posterior, ballots.votes())
    seen = _seen(columns)
    values = [columns.options[code] if judged else None for code, judged in zip(best.tolist(), seen, strict=True)]
    confidence = found.posterior[np.arange(columns.tasks), best]
    return Found(values, np.where(seen, confidence, 0.0), found.skill)


def choices(columns: Columns, method: str) -> Found:
    """A set of labels, each by a method for choices; the confidence is the probability that the whole set is right."""
    has = np.array([[option in value for option in columns.options] for value in columns.values], dtype=bool)
    gold = None
    if columns.gold:
        gold = np.full((columns.tasks, len(columns.options)), UNKNOWN, np.int32)
        for task, truth in columns.gold.items():
            gold[task] = [option in truth for option in columns.options]
    found = labels.labels(
        columns.task, columns.worker, has.reshape(len(columns.values), len(columns.options)),
        tasks=columns.tasks, workers=columns.workers, method=method, gold=gold,
    )  # fmt: skip
    seen = _seen(columns)
    values = [
        [option for option, chosen in zip(columns.options, row, strict=True) if chosen] if judged else None
        for row, judged in zip(found.chosen.tolist(), seen, strict=True)
    ]
    skill = None if found.skill is None else found.skill.mean(axis=1)
    return Found(values, np.where(seen, found.confidence, 0.0), skill)


def number(columns: Columns, method: str) -> Found:
    """A number; the confidence is the probability that the truth is within a twentieth of the range of it.

    The range is that of the answer type, or else that of nine tenths of the numbers given.
    """
    value = np.array(columns.values, dtype=np.float64)
    given = numbers.Numbers(
        columns.task.astype(np.intp), columns.worker.astype(np.intp), value, columns.tasks, columns.workers
    )
    gold = None
    if columns.gold:
        gold = np.full(columns.tasks, math.nan)
        gold[list(columns.gold)] = list(columns.gold.values())
    found = numbers.METHODS[method](given, gold=gold)
    within, seen = near(columns), _seen(columns)
    values = [one if judged else None for one, judged in zip(found.value.tolist(), seen, strict=True)]
    skill = None if found.deviation is None else numbers.probability(found.deviation, within)
    return Found(values, np.where(seen, numbers.confidence(found, within), 0.0), skill)


def near(columns: Columns) -> float:
    """How far a number may be from the truth to be right: a twentieth of the range."""
    if columns.span is not None:
        return WITHIN * columns.span
    if not len(columns.values):
        return 0.0
    # in parts of the range, for the whole of it may be beyond floats
    return float(np.subtract(*np.quantile(WITHIN * np.array(columns.values, dtype=np.float64), [0.95, 0.05])))


def text(columns: Columns, method: str) -> Found:
    """A text; the confidence is what the method says it is."""
    found = texts.written(columns.task, columns.values, tasks=columns.tasks, rule=texts.METHODS[method])
    return Found(list(found.texts), found.confidence)


def json_(columns: Columns) -> Found:
    """The value that most have given; the confidence is the share of them. Of a tie the first as text wins."""
    written = [json.dumps(value, sort_keys=True, ensure_ascii=False) for value in columns.values]
    found = texts.written(columns.task, written, tasks=columns.tasks, rule=texts.exact)
    return Found([None if one is None else json.loads(one) for one in found.texts], found.confidence)


def _seen(columns: Columns) -> list[bool]:
    """Which tasks have judgments, or a truth that is known."""
    seen = np.bincount(columns.task, minlength=columns.tasks) > 0
    seen[list(columns.gold or ())] = True
    found: list[bool] = seen.tolist()
    return found


def _by(of_type: Callable[[Columns, str], Found], name: str) -> Method:
    return lambda columns: of_type(columns, name)


#: Answer type to method to function.
METHODS: Mapping[Type, Mapping[str, Method]] = {
    "choice": {name: _by(choice, name) for name in methods.METHODS},
    "choices": {name: _by(choices, name) for name in methods.METHODS},
    "number": {name: _by(number, name) for name in numbers.METHODS},
    "text": {name: _by(text, name) for name in texts.METHODS},
    "json": {"exact": json_},
}
#: The method of a type, if none is named.
DEFAULTS: Mapping[Type, str] = {
    "choice": methods.DEFAULT,
    "choices": methods.DEFAULT,
    "number": numbers.DEFAULT,
    "text": texts.DEFAULT,
    "json": "exact",
}


def infer(type_: Type, columns: Columns, method: str | None = None) -> Found:
    """What a method makes of judgments of this type.

    Raises:
        KeyError: there is no such type, the type has no such method, or a value is none of the options.
        ValueError: the columns differ in length, or a number is out of its range or not finite.
    """
    return METHODS[type_][method or DEFAULTS[type_]](columns)
