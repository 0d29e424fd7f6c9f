"""What a report shows, counted while the suites of a bundle pass by; nothing grows with the tasks."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.messages import GOLD_ID
from manyhands.spec import JobSpec
from manyhands_aggregator import export, values
from manyhands_aggregator.agreement import gather, voters
from manyhands_aggregator.bundle.confidence import Confidence
from manyhands_aggregator.bundle.ratings import Ratings
from manyhands_aggregator.bundle.reading import Line, Suite
from manyhands_aggregator.bundle.tally import Share
from manyhands_aggregator.bundle.voters import Voters
from manyhands_aggregator.measures import measure_of

#: Bins of numbers, and stretches of the time that the job took.
NUMBERS, TIMES = 24, 60
#: Options up to which there are tables of options against options.
MATRIX = 24
#: Different answers, codes of failures, and tasks on which judges were divided: so many are told apart, or shown.
DISTINCT, CODES, HARDEST = 10_000, 1000, 12


@dataclass(frozen=True, slots=True)
class Hard:
    """A task whose answer is of low confidence; ``votes`` are the values that judges gave, the most frequent first."""

    position: int
    id: str
    answer: str
    confidence: float
    votes: Sequence[tuple[str, int]]
    truth: str | None


@dataclass(slots=True)
class Stage:
    """Tasks that a stage judged, its judgments, and the tasks that no later stage judged."""

    tasks: int = 0
    judgments: int = 0
    last: int = 0


class Figures:
    """The figures of a job, from its suites in any order.

    ``facts`` is what the aggregator says of it; ``span`` is the range of its answers if they are numbers.
    """

    def __init__(self, spec: JobSpec, facts: Mapping[str, Any], span: tuple[float, float] | None = None) -> None:
        self.spec = spec
        self._check = values.check(spec.answer)
        self._gold = facts.get("gold", 0), facts.get("accuracy", 0.0)
        #: What people have earned.
        self.earned = str(facts.get("earned", "0"))
        self._opened, self._ended = facts["opened"], max(facts["ended"], facts["opened"])
        self._codes = {option: code for code, option in enumerate(spec.answer.options or ())}
        self._same: dict[tuple[str, str], bool] = {}
        choice = spec.answer.type == "choice"
        matrix = len(self._codes) if choice and len(self._codes) <= MATRIX else 0
        #: Answers by value: options, or what is said most.
        self.answers: Counter[str] = Counter()
        self.others = 0
        self.span = span
        self.numbers = [0] * NUMBERS
        self.confidence = Confidence()
        #: Of options against options: rows are the truth, or the answer; columns the answer, or what was said.
        self.truths: NDArray[np.int64] | None = np.zeros((matrix, matrix), np.int64) if matrix else None
        self.said: dict[str, NDArray[np.int64]] = defaultdict(lambda: np.zeros((matrix, matrix), np.int64))
        self.voters = Voters(numbers=spec.answer.type == "number")
        self.stages: dict[int, Stage] = defaultdict(Stage)
        self.each: Counter[int] = Counter()
        self.times = [0] * TIMES
        self.failures: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.right, self.known, self.answered = 0, 0, 0
        #: Tasks of gold that were mixed in: they are judged, and are none of the job's.
        self.mixed = 0
        self._hardest: list[tuple[float, int, Hard]] = []
        self._measure = measure_of(spec, judges := voters(spec))
        self._named = {name: number for number, name in enumerate(judges)}
        self._met = False
        self._ratings = Ratings(spec, facts["judgments"])

    # -- counting ------------------------------------------------------------------------------------------------------

    def add(self, suite: Suite) -> None:
        """Count a suite.

        Raises:
            ValueError: its files do not fit together.
        """
        said: list[list[Line]] = [[] for _ in suite.tasks]
        for line in suite.judgments:
            said[line["position"] - suite.first].append(line)
        answers = iter(suite.answers)
        for task, lines in zip(suite.tasks, said, strict=True):
            if task["id"] != GOLD_ID:
                if (answer := next(answers, None)) is None:
                    raise ValueError(f"the task {task['id']} has no answer")
                self._task(task, answer, lines)
                continue
            self.mixed += 1
            for line in lines:  # gold that was mixed in has no answer: it tells of its judges alone
                self._judgment(line, None, task.get("truth"))
        if next(answers, None) is not None:
            raise ValueError(f"suite {suite.number} has more answers than tasks")
        self.voters.worked(suite.judgments)
        self._met |= any(len(lines) > 1 for lines in said)
        positions, messages = [task["position"] for task in suite.tasks], suite.messages()
        self._measure.add(gather(messages, {suite.number: -suite.first}, positions, self._named))
        self._ratings.add(suite, messages)

    def _task(self, task: Line, answer: Line, lines: Sequence[Line]) -> None:
        failed, value, truth = "error" in answer, answer["answer"], task.get("truth")
        right: bool | None = None
        if truth is not None:
            right = not failed and self._is(value, truth)
            self.known += 1
            self.right += right
        if failed:
            _bounded(self.failures, answer["error"]["code"], CODES)
        else:
            self._answer(value, truth)
            self.confidence.add(answer["confidence"], right)
        valued = 0
        for line in lines:
            valued += "error" not in line
            self._judgment(line, None if failed else answer, truth)
            self.stages[line["stage"]].judgments += "error" not in line
        self.each[valued] += 1
        self.answered += not failed
        if lines:
            for number in {line["stage"] for line in lines}:
                self.stages[number].tasks += 1
            self.stages[max(line["stage"] for line in lines)].last += 1
        if valued > 1 and not failed and answer["confidence"] < 1:
            self._hard(task, answer, lines)

    def _answer(self, value: Any, truth: Any) -> None:
        kind = self.spec.answer.type
        if kind == "number":
            if self.span is not None:
                low, high = self.span
                at = int((value / 2 - low / 2) / (high / 2 - low / 2) * NUMBERS) if high > low else 0
                self.numbers[max(0, min(at, NUMBERS - 1))] += 1
            return
        if kind == "choices":
            self.answers.update(value)
        elif not _bounded(self.answers, export.cell(value), DISTINCT):
            self.others += 1
        if self.truths is not None and isinstance(truth, str | int):
            row = self._codes.get(str(truth))
            if row is not None:
                self.truths[row, self._codes[value]] += 1

    def _judgment(self, line: Line, answer: Line | None, truth: Any) -> None:
        if "error" in line:
            self.voters.failed(line)
            _bounded(self.errors, line["error"]["code"], CODES)
            return
        value = line["value"]
        told = None if answer is None else answer["answer"]
        self.voters.judged(line, None if truth is None else self._is(value, truth), told, answer is not None)
        if answer is not None and self.truths is not None:
            self.said[line["judge"]][self._codes[answer["answer"]], self._codes[value]] += 1
        took = self._ended - self._opened
        at = int((line["finished"] - self._opened) / took * TIMES) if took else 0
        self.times[max(0, min(at, TIMES - 1))] += 1  # clocks differ

    def _hard(self, task: Line, answer: Line, lines: Sequence[Line]) -> None:
        confidence, position = answer["confidence"], task["position"]
        if len(self._hardest) == HARDEST and -self._hardest[0][0] <= confidence:
            return
        votes = Counter(_cell(line["value"]) for line in lines if "error" not in line)
        truth = task.get("truth")
        hard = Hard(
            position, task["id"], _cell(answer["answer"]), confidence, votes.most_common(4),
            None if truth is None else _cell(truth),
        )  # fmt: skip
        heapq.heappush(self._hardest, (-confidence, -position, hard))
        if len(self._hardest) > HARDEST:
            heapq.heappop(self._hardest)

    def _is(self, value: Any, truth: Any) -> bool:
        if not (isinstance(value, str) and isinstance(truth, str)):
            return values.same(self.spec, self._check, value, truth)
        if len(self._same) > DISTINCT:
            self._same.clear()
        found = self._same.get((value, truth))
        if found is None:
            found = self._same[value, truth] = values.same(self.spec, self._check, value, truth)
        return found

    # -- telling -------------------------------------------------------------------------------------------------------

    @property
    def hardest(self) -> list[Hard]:
        """The tasks whose answers are of the lowest confidence though several judged them, the lowest first."""
        return [hard for *_, hard in sorted(self._hardest, key=lambda each: (-each[0], -each[1]))]

    @property
    def tasks(self) -> int:
        """The job's own tasks, answered or not."""
        return self.each.total()

    @property
    def accuracy(self) -> Share:
        """Of the tasks of known truth, those answered with it; with gold mixed in, by what the aggregator says."""
        known, share = self._gold
        if self.mixed and known:  # its answers are not among the job's
            return Share(round(share * known), known)
        return Share(self.right, self.known)

    @cached_property
    def agreement(self) -> Mapping[str, Any] | None:
        """How far judges agree, as `manyhands agreement` says it; None where nobody judged what another judged."""
        said = self._measure.report() if self._met else None
        return said if said and said["tasks"] else None

    @cached_property
    def ratings(self) -> list[dict[str, Any]]:
        """How good judges and people are, as `manyhands workers` says it."""
        return self._ratings.report()

    @property
    def cost(self) -> float:
        """What all judgments cost by their price, or by what they state."""
        return sum(tally.cost for tally in self.voters.judges.values())

    @property
    def paid(self) -> float:
        """That, and what people have earned."""
        return self.cost + float(self.earned)


def _bounded(counter: Counter[str], key: str, most: int) -> bool:
    """Count it, unless it is new and there are ``most`` already; says whether it was counted."""
    if key not in counter and len(counter) >= most:
        return False
    counter[key] += 1
    return True


def _cell(value: Any) -> str:
    """A value as it is shown: of a number the digits that people read."""
    return f"{value:.6g}" if isinstance(value, float) else export.cell(value)
