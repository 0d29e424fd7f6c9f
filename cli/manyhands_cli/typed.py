"""Answers that are no single choice, and rankings, from CSV files: what `manyhands aggregate --type` does."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from manyhands_cli.crowdfiles import Judged, read_answers, read_pairs, read_truths

if TYPE_CHECKING:  # numpy takes its time to import
    from manyhands_aggregator.truth.types import Columns, Found, Type

#: What labels may be; pairwise is a comparison of two items, whose label is the better one.
Typed: TypeAlias = Literal["choice", "choices", "number", "text", "pairwise"]
#: Stands between the labels of a set.
BETWEEN = "|"

#: A method's figures, and the rows of its answers.
Made: TypeAlias = tuple[dict[str, Any], Iterator[tuple[str, ...]]]


@dataclass(frozen=True, slots=True)
class Read:
    """Files, read: the rows that were left out of each, the head of what is written, and what makes it of a method."""

    bad: list[str]
    bad_truths: list[str]
    head: tuple[str, ...]
    methods: tuple[str, ...]
    default: str
    make: Callable[[str], Made]


def read(type_: Typed, answers: Path, truth: Path | None) -> Read:
    """Read judgments of a type, and truths.

    Raises:
        BadTable: they are no CSV files with these columns, or no row can be used.
        OSError: they cannot be read.
    """
    return _pairwise(answers, truth) if type_ == "pairwise" else _answers(cast("Type", type_), answers, truth)


def _answers(type_: Type, answers: Path, truth: Path | None) -> Read:
    from manyhands_aggregator.truth import types

    judged = read_answers(answers, number_or_why if type_ == "number" else None)
    known, bad = ({}, []) if truth is None else read_truths(truth, judged)
    ballots = judged.ballots
    options = sorted({one for label in judged.labels for one in _set(label)}) if type_ == "choices" else judged.labels
    values = [_value(type_, label) for label in judged.labels]
    columns = types.Columns(
        task=ballots.task, worker=ballots.worker, values=[values[k] for k in ballots.label.tolist()],
        tasks=ballots.tasks, workers=ballots.workers, options=options,
    )  # fmt: skip
    if type_ == "number":
        for task in [task for task, said in known.items() if number_or_why(said)]:
            bad.append(f"task {judged.tasks[task]!r}: {number_or_why(known.pop(task))}")

    def make(method: str) -> Made:
        began = time.perf_counter()
        found = types.infer(type_, columns, method)
        seconds = time.perf_counter() - began
        truths = {task: _value(type_, said) for task, said in known.items()}
        figures = {
            "method": method,
            "accuracy": None,
            "seconds": round(seconds, 4),
            "tasks": ballots.tasks,
            "workers": ballots.workers,
            "judgments": len(ballots),
            "known": len(truths),
        }
        return figures | (_right(type_, found, truths, columns) if truths else {}), _rows(judged, found)

    named = types.METHODS[type_]
    return Read(judged.bad, bad, ("task", "label", "confidence"), tuple(named), types.DEFAULTS[type_], make)


def _right(type_: Type, found: Found, truths: Mapping[int, Any], columns: Columns) -> dict[str, Any]:
    """How right the answers are: texts in their plain form, numbers near enough, and how far off they are."""
    import numpy as np

    from manyhands_aggregator.truth.nearness import is_near
    from manyhands_aggregator.truth.plain import plain
    from manyhands_aggregator.truth.types import near

    if type_ == "number":
        said, known = np.array([found.values[task] for task in truths]), np.array([*truths.values()])
        off = np.abs(said - known)
        within, most = near(columns), min(float(off.max()), sys.float_info.max) or 1.0  # squares may be beyond floats
        return {
            "accuracy": round(float(is_near(said, known, within).mean()), 6),
            "within": within,
            "mean_error": float((off / most).mean()) * most,
            "root_mean_square_error": float(np.sqrt(((off / most) ** 2).mean())) * most,
        }
    same = plain if type_ == "text" else lambda value: value
    return {
        "accuracy": round(
            sum(same(found.values[task]) == same(truth) for task, truth in truths.items()) / len(truths), 6
        )
    }


def _rows(judged: Judged, found: Found) -> Iterator[tuple[str, ...]]:
    for task, value, confidence in zip(judged.tasks, found.values, found.confidence.tolist(), strict=True):
        label = BETWEEN.join(value) if isinstance(value, list) else repr(value) if isinstance(value, float) else value
        yield task, label, f"{confidence:.6f}"


def _pairwise(answers: Path, truth: Path | None) -> Read:
    from manyhands_aggregator.truth import pairs

    compared = read_pairs(answers)
    known, bad = ({}, []) if truth is None else read_truths(truth, compared, "item")
    for item in [item for item, said in known.items() if number_or_why(said)]:
        bad.append(f"item {compared.tasks[item]!r}: {number_or_why(known.pop(item))}")

    def make(method: str) -> Made:
        import numpy as np

        began = time.perf_counter()
        ranked = pairs.METHODS[method](compared.pairs)
        figures = {
            "method": method,
            "accuracy": None,
            "seconds": round(time.perf_counter() - began, 4),
            "items": compared.pairs.items,
            "workers": compared.pairs.workers,
            "judgments": len(compared.pairs.left),
            "known": len(known),
        }
        truths = np.array([float(said) for said in known.values()])
        order = np.sign(truths[:, None] - truths[None, :])
        if order.any():
            scores = ranked.score[list(known)]
            figures["accuracy"] = round(
                float((np.sign(scores[:, None] - scores[None, :]) == order)[order != 0].mean()), 6
            )
        best = np.argsort(-ranked.score, kind="stable").tolist()
        rows = ((compared.tasks[i], repr(float(ranked.score[i])), f"{ranked.confidence[i]:.6f}") for i in best)
        return figures, rows

    return Read(compared.bad, bad, ("item", "score", "confidence"), tuple(pairs.METHODS), pairs.DEFAULT, make)


def _value(type_: Type, label: str) -> Any:
    if type_ == "number":
        return float(label)
    return _set(label) if type_ == "choices" else label


def _set(label: str) -> list[str]:
    return sorted({one for part in label.split(BETWEEN) if (one := part.strip())})


def number_or_why(label: str) -> str | None:
    """What is wrong with a label that is to be a number."""
    try:
        return None if abs(float(label)) < float("inf") else f"{label!r} is not finite"
    except ValueError:
        return f"{label!r} is no number"
