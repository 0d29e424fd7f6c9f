"""Jobs that stand still: what they wait for is nowhere any more, so it is published again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from manyhands import logs
from manyhands.clock import Clock
from manyhands.errors import BrokerError
from manyhands.spec import PEOPLE, JobSpec
from manyhands.topology import Names, topology
from manyhands_producer.board import Live

_log = logs.get(__name__)

#: The longest time between two looks, in seconds.
LOOK = 30.0
#: How often the patience with a job doubles that still stands still when it was published again.
DOUBLINGS = 5

#: (messages ready, consumers) of a queue, or None where there is no such queue.
Depth = Callable[[str], tuple[int, int] | None]


@dataclass(slots=True)
class _Seen:
    mark: tuple[int, ...]
    since: float
    times: int = 0


class Standstill:
    """Watches the live jobs.

    A job stands still when something of it is published and not settled, nothing is heard of it for ``after`` seconds,
    and no message waits in any queue that its messages pass. Then what it waits for was lost by the broker, or is with
    a worker that takes very long; publishing it again ends the one, and does the other no harm.

    Or it is with people, who take days and hold no message meanwhile; to publish that again would have machines paid
    once more. So a job that goes from machines to people is left alone: whoever runs it is told.
    """

    def __init__(self, names: Names, depth: Depth, clock: Clock, after: float) -> None:
        self._names, self._depth, self._clock, self._after = names, depth, clock, after
        self._seen: dict[str, _Seen] = {}
        self._due = 0.0

    def look(self, lives: Iterable[Live]) -> list[str]:
        """The jobs that have stood still for long enough; of each it is said once, and later with growing patience."""
        now = self._clock.monotonic()
        if not self._after or now < self._due:
            return []
        self._due = now + min(LOOK, self._after / 4)
        waiting = {live.job: live for live in lives if _waits(live)}
        self._seen = {job: seen for job, seen in self._seen.items() if job in waiting}
        return [job for job, live in waiting.items() if self._still(live, now)]

    def _still(self, live: Live, now: float) -> bool:
        mark = (live.suites, live.next, len(live.unsettled), min(live.unsettled, default=-1), live.heard)
        seen = self._seen.setdefault(live.job, _Seen(mark, now))
        if seen.mark != mark:
            seen.mark, seen.since = mark, now
        if now - seen.since < self._after * 2**seen.times or not self._empty(live):
            return False
        seen.since, seen.times = now, min(seen.times + 1, DOUBLINGS)
        alone = _with_people(live.spec)
        more = {"maybe": "with people; if not: manyhands republish"} if alone else {}
        _log.warning("the job stands still", job=live.job, unsettled=len(live.unsettled), **more)
        return not alone

    def _empty(self, live: Live) -> bool:
        queues = [queue.name for queue in topology(self._names, live.spec.judge_names).queues]
        try:
            return not any(depth and depth[0] for depth in map(self._depth, queues))
        except BrokerError as error:
            _log.info("queues cannot be looked at", error=str(error))
            return False


def _with_people(spec: JobSpec) -> bool:
    """Whether people may have what a machine was asked of first."""
    return PEOPLE in spec.judge_names and any(judge.judge != PEOPLE for judge in spec.stages[0].judges)


def _waits(live: Live) -> bool:
    """Whether something is published of which the end is not heard yet; an open job with nothing to do waits for us."""
    return not live.over and (bool(live.unsettled) or (live.state == "sealed" and live.ahead <= 0))
