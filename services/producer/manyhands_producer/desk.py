"""What the publisher knows of one job, and how confirms change it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from manyhands_producer.board import Live
from manyhands_producer.record import Progress, State

#: What a message is of: a judge's slot of a suite, the news of suites, or one of a job's own events.
Slot = tuple[str, int]
NEWS, OPENED, CLOSED = ("", -1), ("", -2), ("", -3)


@dataclass(slots=True, eq=False)
class Desk:
    """A job that is being published.

    ``pending`` counts the unconfirmed messages of each suite, the oldest suite first; ``failed`` has those of them that
    are to be published: whose suite was just taken, or that were published in vain. ``told`` is the state that the last
    job event told of, ``closed`` that of which it is confirmed. ``saved`` is what the store knows. A job that is
    published ``anew`` has a new desk; what the old one sent is confirmed to the old one.
    """

    live: Live
    anew: int = 0
    pending: dict[int, int] = field(default_factory=dict)
    failed: dict[int, set[Slot]] = field(default_factory=dict)
    opened: bool = False
    announced: bool = False
    told: State | None = None
    closed: State | None = None
    failures: int = 0
    again_at: float = 0.0
    saved: Progress | None = None

    @classmethod
    def of(cls, live: Live) -> Desk:
        """The desk of a job as the store knows it."""
        closed = live.state if live.closed else None
        desk = cls(live, anew=live.anew, opened=live.announced, announced=live.announced, told=closed, closed=closed)
        desk.saved = Progress(
            number=live.number, anew=live.anew, published=live.published, announced=live.announced, closed=closed
        )
        return desk

    @property
    def progress(self) -> Progress:
        """How far the job is confirmed: over all suites before the first with an unconfirmed message."""
        confirmed = next(iter(self.pending), self.live.next)
        return Progress(
            number=self.live.number,
            anew=self.anew,
            published=confirmed,
            announced=self.announced,
            closed=self.closed,
        )

    @property
    def slots(self) -> list[Slot]:
        """To whom a suite goes at first; whom it goes to later, the aggregator says.

        Not to a judge that is retired, as long as the plan may ask others in its place.
        """
        judges = self.live.spec.stages[0].judges
        if self.live.spec.cascades:
            judges = [judge for judge in judges if judge.judge not in self.live.retired] or judges
        return [(j.judge, slot) for j in judges for slot in range(j.judgments)]

    @property
    def may_close(self) -> bool:
        """Whether the job's last event is due: its state is not told, and all that comes before is confirmed."""
        state = self.live.state
        if state == "open" or self.told == state or (state == "ended" and self.told == "sealed"):
            return False
        return self.live.ahead <= 0 and not self.pending and self.announced

    def take(self, suite: int, slots: Iterable[Slot]) -> None:
        """A suite was taken out of the spool; its news and its messages to the slots are to be published."""
        due = {NEWS, *slots}
        self.pending[suite], self.failed[suite] = len(due), due

    def sent(self, suites: Iterable[int], slot: Slot) -> None:
        """A message is on its way."""
        for suite in suites:
            due = self.failed[suite]
            due.discard(slot)
            if not due:
                del self.failed[suite]

    def confirm(self, suites: Iterable[int], slot: Slot) -> None:
        """A message is confirmed."""
        self.failures = 0
        if slot == OPENED:
            self.announced = True
        elif slot == CLOSED:
            self.closed = self.told
        else:
            for suite in suites:
                self.done(suite, 1)

    def done(self, suite: int, messages: int) -> None:
        """Some of a suite's messages are confirmed, or nobody wants them any more."""
        left = self.pending.get(suite, 0) - messages
        if left > 0:
            self.pending[suite] = left
        else:
            self.pending.pop(suite, None)

    def fail(self, suites: Iterable[int], slot: Slot) -> None:
        """A message was not confirmed, and is to be published again."""
        if slot == OPENED:
            self.opened = False
        elif slot == CLOSED:
            self.told = self.closed
        else:
            for suite in suites:
                self.failed.setdefault(suite, set()).add(slot)
