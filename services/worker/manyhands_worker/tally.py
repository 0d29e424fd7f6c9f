"""The worker's counts. Children report numbers; the metrics live here, in the parent."""

from __future__ import annotations

from functools import cache

from manyhands import metrics, tracing
from manyhands.broker.protocol import Delivery
from manyhands.measure import waited
from manyhands_worker.frames import Judged

#: By what a judge that is paid for says that it has used.
_USED = {
    "requests": metrics.LLM_REQUESTS, "input": metrics.LLM_INPUT_TOKENS, "output": metrics.LLM_OUTPUT_TOKENS,
    "cost": metrics.LLM_COST,
}  # fmt: skip


class Tally:
    """Counts into the metrics; keeps the labelled ones at hand, since looking one up costs as much as counting."""

    def __init__(self) -> None:
        self._tasks = cache(metrics.TASKS_JUDGED.labels)
        self._suites = cache(metrics.SUITE_SECONDS.labels)
        self._waits = cache(metrics.QUEUE_SECONDS.labels)
        self._busy = cache(metrics.BUSY_SECONDS.labels)

    def judged(self, said: Judged, exemplar: dict[str, str] | None = None) -> None:
        """A suite was judged; the exemplar is of its trace, where it has one."""
        self.tasks(said.judge, said.judged, said.failed)
        self._suites(said.judge).observe(said.seconds, exemplar)
        self.busy(said.judge, said.seconds)
        for rung, count in said.retries.items():
            metrics.RETRIES.labels(said.judge, rung).inc(count)
        for what, amount in said.used.items():
            _USED[what].labels(said.judge).inc(amount)

    def tasks(self, judge: str, judged: int, failed: int) -> None:
        """So many tasks got a value, so many did not."""
        self._tasks(judge, "value").inc(judged)
        if failed:
            self._tasks(judge, "error").inc(failed)

    def taken(self, judge: str, delivery: Delivery, now: float) -> None:
        """A child begins with a suite."""
        seconds = waited(delivery.headers, now)
        if seconds is not None:
            self._waits(judge).observe(seconds, tracing.exemplar(delivery))

    def busy(self, judge: str, seconds: float) -> None:
        """A child has judged for so many seconds."""
        self._busy(judge).inc(seconds)
