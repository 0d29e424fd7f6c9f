"""What the aggregator should come to, said as plainly as can be: a cell for each task and slot, and no store."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from manyhands.broker import Delivery
from manyhands.codec import addressed, decode
from manyhands.deadletters import read_cause
from manyhands.errors import DecodeError
from manyhands.messages import (
    JOB_CANCELLED,
    JOB_OPENED,
    JOB_SEALED,
    SUITES_OPENED,
    Event,
    Judgments,
    Suite,
)
from tests.unit.aggregator.kit import OPTIONS, Job

#: In a cell, where there is no value.
FAILED = object()

Slot = tuple[str, int]
Cell = tuple[int, Slot]


@dataclass(slots=True)
class Held:
    """A message that waits for news of its suite; what follows from a dead letter has no digest."""

    since: float
    digest: str
    message: Judgments
    spoiled: bool


@dataclass(slots=True)
class Model:
    """The state of one job with an aggregator; ``cells`` are what each slot says of each position."""

    job: Job
    slots: Sequence[Slot]
    max_attempts: int
    overdue_at: float
    hold: float
    opened: bool = False
    sealed: bool = False
    state: str = "open"
    late: bool = False
    announced: set[int] = field(default_factory=set)
    unanswerable: set[int] = field(default_factory=set)
    cells: dict[Cell, object] = field(default_factory=dict)
    judgments: int = 0
    held: list[Held] = field(default_factory=list)

    # -- what comes ----------------------------------------------------------------------------------------------------

    def take(self, deliveries: Sequence[Delivery], now: float) -> None:
        """A batch: news first, then judgments, then what follows from dead letters."""
        judged: list[tuple[Judgments, bool, bytes]] = []
        failures: list[Judgments] = []
        for delivery in deliveries:
            if ".dead." in f".{delivery.queue}":
                failures += self._concluded(delivery, now)
                continue
            try:
                message = decode(delivery.body, delivery.type, delivery.content_encoding)
            except DecodeError:
                skeleton = addressed(delivery.body, delivery.type, delivery.content_encoding)
                assert skeleton is not None
                judged.append((skeleton, True, delivery.body))
                continue
            if isinstance(message, Event):
                self._hear(message)
            elif isinstance(message, Judgments):
                judged.append((message, False, delivery.body))
        self._end()
        for message, spoiled, body in judged:
            self._judge_or_hold(message, spoiled, hashlib.sha256(body).hexdigest()[:32], now)
        for message in failures:
            if not self.opened or self.state == "open" or self._known(message.suite):
                self._judge_or_hold(message, False, "", now)
        self._end()

    def _hear(self, event: Event) -> None:
        match event.name:
            case "job.opened":
                self.opened = True
            case "suites.opened":
                for suite in event.data["suites"]:
                    if suite not in self.announced and self.state == "cancelled":
                        self.unanswerable.add(suite)
                    self.announced.add(suite)
            case "job.sealed":
                self.sealed = True
            case "job.cancelled":
                if self.state == "open":
                    # what is answered or has failed by now stays so
                    self.state, self.sealed = "cancelled", True
                    self.unanswerable = {s for s in range(self.job.suites) if not self._settled(s)}
        assert event.name in (JOB_OPENED, SUITES_OPENED, JOB_SEALED, JOB_CANCELLED)

    def _judge_or_hold(self, message: Judgments, spoiled: bool, digest: str, now: float) -> None:
        if self.opened and (self.state == "cancelled" or self._known(message.suite)):
            self._judge(message, spoiled)
        elif not any(held.digest == digest != "" for held in self.held):
            self.held.append(Held(now, digest, message, spoiled))

    def _concluded(self, letter: Delivery, now: float) -> Iterable[Judgments]:
        """The failures that a dead letter speaks of, if nobody else does."""
        if read_cause(letter, now).told:
            return
        try:
            message = decode(letter.body, letter.type, letter.content_encoding)
        except DecodeError:
            skeleton = addressed(letter.body, letter.type, letter.content_encoding)
            assert skeleton is not None
            message = skeleton
        if isinstance(message, (Suite, Judgments)):
            nothing = Judgments(
                job=message.job, suite=message.suite, stage=0, judge=message.judge, slot=message.slot, worker="",
                positions=message.positions, values=[FAILED] * len(message.positions), attempt=message.attempt,
            )  # fmt: skip
            yield nothing

    def sweep(self, now: float) -> None:
        """What upkeep does: held messages whose suite is known by now; those held too long; the deadline."""
        waiting, self.held = sorted(self.held, key=lambda h: (h.since, h.digest)), []
        for held in waiting:
            if self._known(held.message.suite):
                self._judge(held.message, held.spoiled)
            elif held.since > now - self.hold or not held.digest:
                self.held.append(held)
        self._end()
        if self.opened and self.state == "open" and now >= self.overdue_at:
            self.state, self.late = "partial", True
            self._end()

    def _known(self, suite: int) -> bool:
        return self.opened and suite in self.announced and bool(self.job.sent(suite))

    def _judge(self, message: Judgments, spoiled: bool) -> None:
        """Fill cells: the first value stays, a value beats a failure, what is no answer is asked for again."""
        slot = (message.judge, message.slot)
        if slot not in self.slots or self.state == "cancelled":
            return
        own = self.job.sent(message.suite)
        no_answer = spoiled or not set(message.positions) <= set(own)
        for position, value in zip(message.positions, message.values, strict=True):
            cell = (position, slot)
            if position not in own or (cell in self.cells and self.cells[cell] is not FAILED):
                continue
            failed = value is FAILED or position in message.errors
            if no_answer or (not failed and value not in OPTIONS):
                if message.attempt < self.max_attempts:
                    continue
                failed = True
            if failed and cell in self.cells:
                continue
            self.cells[cell] = FAILED if failed else value
            self.judgments += 1

    def _end(self) -> None:
        tasks, answered, failed, _, _ = self.counts
        if self.opened and self.sealed and tasks == self.job.count and answered + failed == tasks:
            if self.state == "open":
                self.state = "partial" if failed else "complete"
            elif self.state == "partial" and not failed:
                self.state = "complete"

    # -- what it comes to ----------------------------------------------------------------------------------------------

    def _settled(self, suite: int) -> bool:
        if suite not in self.announced or suite in self.unanswerable:
            return False
        cells = [(position, slot) in self.cells for position in self.job.sent(suite) for slot in self.slots]
        return all(cells) or (self.late and any(cells))

    @property
    def settled(self) -> set[int]:
        """The suites that have answers."""
        return {suite for suite in self.announced if self._settled(suite)}

    @property
    def answers(self) -> dict[int, tuple[str, float, int] | None]:
        """By position, of the suites that are settled: value, confidence and number of judgments; None: it failed."""
        found: dict[int, tuple[str, float, int] | None] = {}
        for suite in self.settled:
            for position in self.job.positions(suite):
                said = [self.cells.get((position, slot), FAILED) for slot in self.slots]
                votes = Counter(str(value) for value in said if value is not FAILED)
                # a tie goes to the option named first in the job file
                best = max(OPTIONS, key=lambda o: (votes[o], -OPTIONS.index(o)))
                found[position] = (best, votes[best] / votes.total(), votes.total()) if votes else None
        return found

    @property
    def counts(self) -> tuple[int, int, int, int, int]:
        """Tasks: all, answered, failed, cancelled, open."""
        answers = self.answers
        tasks = sum(len(self.job.positions(suite)) for suite in self.announced)
        if self.state == "cancelled":
            tasks = self.job.count
        failed = sum(answer is None for answer in answers.values())
        left = tasks - len(answers)
        answered = len(answers) - failed
        if self.state == "cancelled":
            return tasks, answered, failed, left, 0
        return (tasks, answered, failed + left, 0, 0) if self.late else (tasks, answered, failed, 0, left)
