"""What is kept to tell how far judges agree on answers of a type; no I/O."""

from __future__ import annotations

import heapq
import itertools
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from manyhands.spec import JobSpec
from manyhands_aggregator.truth import agreement as truth
from manyhands_aggregator.truth.agreement import Floats, Ints
from manyhands_aggregator.truth.kappas import LEAST
from manyhands_aggregator.truth.plain import plain
from manyhands_aggregator.truth.spread import Open, Spread, bins
from manyhands_aggregator.values import are_plain, canonical

#: Options and judges for which every pair is counted; of more, a table would be larger than it is of use.
OPTIONS, JUDGES = 100, 20
#: How many of the hardest tasks are named.
HARDEST = 20
#: Judgments by people name their worker; each is a voter.
PEOPLE = "people"


@dataclass(slots=True)
class Said:
    """The judgments of some whole suites, a row each: ``task`` (n,) 0..T-1, ``voter`` (n,) and ``values`` (n).

    ``positions`` (T) are the tasks' own numbers.
    """

    task: Ints
    voter: Ints
    values: Sequence[Any]
    positions: Sequence[int]


class Measure(Protocol):
    """What is kept to tell the agreement on values of one type."""

    def add(self, said: Said) -> None:
        """Count in some suites."""

    def report(self) -> dict[str, Any]:
        """What can be told now."""


def measure_of(spec: JobSpec, judges: Sequence[str]) -> Measure:
    """What measures the agreement on answers of a job's type."""
    answer = spec.answer
    if answer.type == "number":
        return Numbers()
    if answer.type == "choices":
        return Labels(answer.options or [])
    if answer.type == "choice" and len(answer.options or ()) <= OPTIONS:
        return Options(answer.options or [], [j for j in judges if j != PEOPLE][:JUDGES])
    return Texts(plain if are_plain(spec) else None)


@dataclass(slots=True)
class Hard:
    """The tasks on which judges were most divided, by a measure of it."""

    found: list[tuple[float, int, int, dict[str, Any]]] = field(default_factory=list)

    def add(self, said: Said, code: Ints, names: Sequence[str]) -> None:
        """Look at the judgments; ``code`` (n,) says which of the names each gave."""
        tasks = len(said.positions)
        bits, judged = truth.entropies(said.task, code, tasks), np.bincount(said.task, minlength=tasks)
        for t in truth.hardest(bits, judged, HARDEST):
            votes = Counter(names[c] for c in code[said.task == t])
            self.note(float(bits[t]), int(judged[t]), said.positions[t], {"votes": dict(votes.most_common())})

    def note(self, by: float, judged: int, position: int, what: dict[str, Any]) -> None:
        """Keep a task, if it is among the hardest; earlier ones among equals."""
        heapq.heappush(self.found, (round(by, 12), judged, -position, what))
        if len(self.found) > HARDEST:
            heapq.heappop(self.found)

    def report(self, unit: str) -> list[dict[str, Any]]:
        """The hardest first."""
        return [{"position": -p, unit: round(by, 6), **what} for by, _, p, what in sorted(self.found, reverse=True)]


class Options:
    """Agreement on one of K options."""

    def __init__(self, options: Sequence[str], judges: Sequence[str]) -> None:
        self._options, self._judges = options, judges
        self._codes = {option: code for code, option in enumerate(options)}
        self._tally = truth.Tally(len(options))
        self._tables = np.zeros((len(judges), len(judges), len(options) ** 2), dtype=np.int64)
        self._hard = Hard()

    def add(self, said: Said) -> None:
        """Count in some suites."""
        code = np.array([self._codes[value] for value in said.values], dtype=np.int64)
        task, voter, k = said.task, said.voter, len(self._options)
        self._tally.add(np.bincount(task * k + code, minlength=len(said.positions) * k).reshape(-1, k))
        self._hard.add(said, code, self._options)
        columns = np.full((len(self._judges), len(said.positions)), -1, dtype=np.int64)
        machine = voter < len(self._judges)
        columns[voter[machine], task[machine]] = code[machine]
        for a, b in itertools.combinations(range(len(self._judges)), 2):
            both = (columns[a] >= 0) & (columns[b] >= 0)
            self._tables[a, b] += np.bincount(columns[a][both] * k + columns[b][both], minlength=k * k)

    def report(self) -> dict[str, Any]:
        """Alpha at each level that the options have, kappas, and what each option is taken for."""
        tally, numbers = self._tally, _numbers(self._options)
        pairs = self._pairs()
        return {
            "alpha": _plain(tally.alpha()),
            "alpha_ordinal": _plain(tally.alpha("ordinal")),
            "alpha_interval": None if numbers is None else _plain(tally.alpha("interval", numbers)),
            "tasks": tally.tasks,
            "observed": _plain(tally.observed),
            "fleiss_kappa": _plain(tally.kappa()),
            "cohen_kappa": _plain(_mean([p["kappa"] for p in pairs])),
            "pairs": pairs,
            "options": self._confused(),
            "hardest": self._hard.report("bits"),
        }

    def _pairs(self) -> list[dict[str, Any]]:
        k, found = len(self._options), []
        for a, b in itertools.combinations(range(len(self._judges)), 2):
            table = self._tables[a, b].reshape(k, k)
            if (tasks := int(table.sum())) >= LEAST:
                names = [self._judges[a], self._judges[b]]
                found.append({"judges": names, "tasks": tasks, "kappa": _plain(truth.cohen(table))})
        return found

    def _confused(self) -> list[dict[str, Any]]:
        shares, rows = self._tally.confused(), []
        for k, option in enumerate(self._options):
            said = int(self._tally.said[k])
            row: dict[str, Any] = {"option": option, "judgments": said, "agreed": _plain(float(shares[k, k]))}
            others = np.where(np.arange(len(shares)) == k, -1.0, shares[k])
            if said and others.max() > 0:
                other = int(others.argmax())
                row |= {"taken_for": self._options[other], "share": round(float(others[other]), 6)}
            rows.append(row)
        return rows


class Labels:
    """Agreement on sets of labels: the distance of two sets is the number of labels that one has and the other not."""

    def __init__(self, options: Sequence[str]) -> None:
        self._options = options
        self._tallies = [truth.Tally(2) for _ in options]
        self._hard = Hard()

    def add(self, said: Said) -> None:
        """Count in some suites."""
        judged = np.bincount(said.task, minlength=len(said.positions))
        for option, tally in zip(self._options, self._tallies, strict=True):
            has = np.array([option in value for value in said.values], dtype=bool)
            chosen = np.bincount(said.task[has], minlength=len(judged))
            tally.add(np.stack([judged - chosen, chosen], axis=1))
        self._hard.add(said, *_coded([canonical(value) for value in said.values]))

    def report(self) -> dict[str, Any]:
        """Alpha over the sets, and of each label."""
        apart = [2 * tally.met[0, 1] for tally in self._tallies]
        expected = [2 * (m := tally.met.sum(axis=1))[0] * m[1] for tally in self._tallies]
        n = float(self._tallies[0].met.sum()) if self._tallies else 0.0
        whole = 1 - (n - 1) * sum(apart) / sum(expected) if sum(expected) > 0 else math.nan
        return {
            "alpha": _plain(float(whole)),
            "tasks": self._tallies[0].tasks if self._tallies else 0,
            "options": [
                {"option": option, "judgments": int(tally.said[1]), "alpha": _plain(tally.alpha())}
                for option, tally in zip(self._options, self._tallies, strict=True)
            ],
            "hardest": self._hard.report("bits"),
        }


class Numbers:
    """Agreement on numbers, at the interval level."""

    def __init__(self) -> None:
        self._spread, self._hard = Spread(), Hard()

    def add(self, said: Said) -> None:
        """Count in some suites."""
        x, tasks = np.array(said.values, dtype=np.float64), len(said.positions)
        self._spread.add(said.task, x)
        judged = np.bincount(said.task, minlength=tasks)
        mean = np.bincount(said.task, weights=x, minlength=tasks) / np.maximum(judged, 1)
        squares = np.bincount(said.task, weights=(x - mean[said.task]) ** 2, minlength=tasks)
        deviation = np.sqrt(squares / np.maximum(judged - 1, 1))
        for t in truth.hardest(deviation, judged, HARDEST):
            self._hard.note(float(deviation[t]), int(judged[t]), said.positions[t], {"mean": float(mean[t])})

    def report(self) -> dict[str, Any]:
        """Alpha, and the tasks of the greatest standard deviation."""
        alpha = _plain(self._spread.alpha())
        return {"alpha": alpha, "tasks": self._spread.tasks, "hardest": self._hard.report("deviation")}


class Texts:
    """Agreement on values of an open set: texts, json, or very many options; they are the same (in a form), or not."""

    def __init__(self, form: Callable[[str], str] | None = None) -> None:
        self._open, self._hard, self._form = Open(), Hard(), form or str

    def add(self, said: Said) -> None:
        """Count in some suites."""
        words = [self._form(value if isinstance(value, str) else canonical(value)) for value in said.values]
        self._open.add(said.task, bins(words))
        self._hard.add(said, *_coded(words))

    def report(self) -> dict[str, Any]:
        """Alpha, and the most divided tasks."""
        return {"alpha": _plain(self._open.alpha()), "tasks": self._open.tasks, "hardest": self._hard.report("bits")}


def _coded(words: Sequence[str]) -> tuple[Ints, list[str]]:
    """Which of the distinct words each is, and these."""
    codes: dict[str, int] = {}
    return np.array([codes.setdefault(word, len(codes)) for word in words], dtype=np.int64), list(codes)


def _numbers(options: Sequence[str]) -> Floats | None:
    """The options as numbers; None where one is none."""
    try:
        numbers = np.array([float(option) for option in options])
    except ValueError:
        return None
    return numbers if np.isfinite(numbers).all() else None


def _mean(values: Sequence[float | None]) -> float:
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined) if defined else math.nan


def _plain(value: float) -> float | None:
    """For JSON: rounded, and None for what is not defined."""
    return None if math.isnan(value) else round(value, 6)
