"""What a batch led to once it was committed, and its place in metrics and log: counted once, whatever was tried."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import chain

from manyhands import logs, metrics
from manyhands.broker import Outgoing
from manyhands.measure import Few, elapsed, observe_all
from manyhands.messages import Event
from manyhands_aggregator.decide import Decision
from manyhands_aggregator.judged import Judged, Taught

_log = logs.get(__name__)


@dataclass(slots=True)
class Result:
    """What transactions lead to: messages ``out``, and what is counted.

    ``opened`` says that there is news for which judgments may have been held, ``held`` that some were now; ``filed``
    counts dead letters by kind and code, ``settled`` tasks by result, ``late`` the judgments that came after a job was
    cancelled; ``ended`` are jobs that have ended just now, ``over`` those that had ended, just now or before.
    ``taught`` is what the suites of each job teach by now.
    """

    out: list[Outgoing] = field(default_factory=list)
    judged: list[Judged] = field(default_factory=list)
    ended: list[Event] = field(default_factory=list)
    filed: Counter[tuple[str, str]] = field(default_factory=Counter)
    settled: Counter[str] = field(default_factory=Counter)
    over: set[str] = field(default_factory=set)
    taught: dict[str, Taught] = field(default_factory=dict)
    late: int = 0
    opened: bool = False
    held: bool = False

    def __iadd__(self, other: Result) -> Result:
        self.out += other.out
        self.judged += other.judged
        self.ended += other.ended
        self.filed += other.filed
        self.settled += other.settled
        self.over |= other.over
        self.taught |= other.taught
        self.late += other.late
        self.opened |= other.opened
        self.held |= other.held
        return self


#: Kept at hand, for looking a label up costs more than counting.
_judgments, _settled = cache(metrics.JUDGMENTS.labels), cache(metrics.TASKS_SETTLED.labels)
#: Dead letters name their codes themselves, and anybody may have written one.
_code = Few(20)


def count(result: Result, messages: int, now: float) -> None:
    """Count a batch of so many messages that was committed at the time ``now``."""
    metrics.BATCH_MESSAGES.observe(messages)
    tally(result, now)
    for event in result.ended:
        metrics.JOBS_ENDED.labels(event.data["state"]).inc()
        _log.info("job ended", job=event.job, **event.data)


def tally(result: Result, now: float) -> None:
    """Count judgments, tasks and letters; jobs that end by the clock are counted when their end is announced."""
    for judged in result.judged:
        _judgments("kept").inc(judged.kept)
        _judgments("duplicate").inc(judged.repeats)
        metrics.TIES.inc(judged.ties)
        took = (elapsed(finished, now) for finished in judged.finished)
        observe_all(metrics.SETTLE_SECONDS, [seconds for seconds in took if seconds is not None])
        for finished, exemplar in judged.traced:
            if (seconds := elapsed(finished, now)) is not None:
                metrics.SETTLE_SECONDS.observe(seconds, exemplar)
        _answers(judged.decided)
        for event, _ in judged.escalated:
            metrics.ESCALATED.labels(event.data["reason"]).inc(len(event.data["positions"]))
    for how, tasks in result.settled.items():
        _settled(how).inc(tasks)
    _judgments("late").inc(result.late)
    for (kind, code), letters in result.filed.items():
        metrics.DEAD_LETTERS.labels(kind, _code(code)).inc(letters)


def _answers(decisions: Sequence[Decision]) -> None:
    """Count the answers of suites, all at once: of either there may be many."""
    confidences = [*chain.from_iterable(decision.confidences for decision in decisions)]
    judgments = [*chain.from_iterable(decision.counts for decision in decisions)]
    if any(decision.errors for decision in decisions):
        confidences = [c for c in confidences if c is not None]
        judgments = [n for n in judgments if n]
    observe_all(metrics.ANSWER_CONFIDENCE, confidences)  # type: ignore[arg-type]  # None is where a task failed
    observe_all(metrics.ANSWER_JUDGMENTS, judgments)
    observe_all(metrics.ANSWER_AGREEMENT, [*chain.from_iterable(decision.agreements for decision in decisions)])
