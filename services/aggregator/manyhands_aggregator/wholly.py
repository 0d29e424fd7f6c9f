"""The answers of a job's tasks, from all its judgments together; no I/O.

Of a task that one voter alone has judged the others tell nothing: its answer stands as it was accepted, with the
confidence that the voter had earned (docs/decisions/0017-the-whole-job-at-its-end.md).
"""

from __future__ import annotations

from array import array
from collections.abc import Set
from dataclasses import dataclass, field
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from manyhands_aggregator.decide import Decision
from manyhands_aggregator.plan import Plan
from manyhands_aggregator.suite import SuiteState
from manyhands_aggregator.truth.ballots import Ballots
from manyhands_aggregator.truth.inferred import UNKNOWN, answers
from manyhands_aggregator.truth.methods import infer
from manyhands_aggregator.voices import counted, voices


@dataclass(slots=True)
class Found:
    """The answers found, by position: their labels, and how probable each is, 0..1."""

    positions: NDArray[np.int64]
    labels: NDArray[np.int32]
    confidences: NDArray[np.float64]

    def applied(self, plan: Plan, first: int, decision: Decision) -> Decision:
        """A suite's answers with what was found in the place of what there was; the failed have failed."""
        options = plan.spec.answer.options or []
        start, end = np.searchsorted(self.positions, (first, first + len(decision.values)))
        return decision.replaced(
            {
                int(self.positions[place]) - first: (options[self.labels[place]], float(self.confidences[place]))
                for place in range(start, end)
            }
        )


@dataclass(slots=True)
class Gathered:
    """Votes of many tasks as columns, some thirty bytes for each; ``several``: tasks of more voters than one.

    Voters who are ``out`` are none. A task that one voter is left of is as one of several: its answer may rest on them.
    """

    plan: Plan
    out: Set[str] = frozenset()
    voters: dict[str, int] = field(default_factory=dict)
    task: array[int] = field(default_factory=lambda: array("i"))
    voter: array[int] = field(default_factory=lambda: array("i"))
    label: array[int] = field(default_factory=lambda: array("i"))
    positions: array[int] = field(default_factory=lambda: array("q"))
    gold: array[int] = field(default_factory=lambda: array("i"))
    several: array[int] = field(default_factory=lambda: array("b"))

    def add(self, state: SuiteState) -> None:
        """Take in what was said of a suite, where it can teach anything; the suites come in their order.

        Of what a voter says of a task the first counts, as all slots of a machine are one voter.
        """
        labels = {option: label for label, option in enumerate(self.plan.spec.answer.options or ())}
        truths = None if state.truths is None else msgpack.unpackb(state.truths, strict_map_key=False)
        for position, of in sorted(voices(state.said).items()):
            heard, useless = counted((of[slot] for slot in sorted(of)), self.out)
            several = len({voice.voter for voice in heard}) > 1 or (
                bool(heard) and any(voice.voter in self.out for voice in useless)
            )
            first = {voice.voter: voice for voice in reversed(heard)}
            gold = UNKNOWN if truths is None else self._gold(labels, truths[position - state.first])
            if not several and gold == UNKNOWN:
                continue  # a voter that bears out nobody but itself teaches nothing
            for voter in sorted(first):
                self.task.append(len(self.positions))
                self.voter.append(self.voters.setdefault(voter, len(self.voters)))
                self.label.append(labels[first[voter].value])
            self.positions.append(position)
            self.gold.append(gold)
            self.several.append(several)

    def _gold(self, labels: dict[str, int], truth: Any) -> int:
        try:
            return UNKNOWN if truth is None else labels[self.plan.check(truth)]
        except ValueError:
            return UNKNOWN

    def found(self) -> Found:
        """The answers that the job's method finds."""
        sizes = len(self.positions), len(self.voters), len(self.plan.spec.answer.options or ())
        task, voter, label = (np.array(column, np.int32) for column in (self.task, self.voter, self.label))
        ballots = Ballots(task, voter, label, *sizes)
        gold, method = np.array(self.gold, np.int32), self.plan.spec.decide_by
        known = (gold != UNKNOWN)[:, None]
        posterior = infer(ballots, method).posterior
        if known.any() and not known.all():  # gold says how good voters are; its own answers are found as all others
            posterior = np.where(known, posterior, infer(ballots, method, gold=gold).posterior)
        labels = answers(posterior, ballots.votes())
        found = np.array(self.several, bool)
        confidences = posterior[np.arange(len(labels)), labels]
        return Found(np.array(self.positions, np.int64)[found], labels[found], confidences[found])
