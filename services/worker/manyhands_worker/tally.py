"""The worker's counts. Children report numbers; the metrics live here, in the parent."""

from __future__ import annotations

from prometheus_client import Counter, Histogram

from manyhands import metrics, tracing
from manyhands.broker.protocol import Delivery
from manyhands.measure import waited
from manyhands_worker.frames import Judged


class Tally:
    """Counts into the metrics; keeps the labelled ones at hand, since looking one up costs as much as counting."""

    def __init__(self) -> None:
        self._of: dict[str, tuple[Counter, Counter, Histogram]] = {}
        self._waits: dict[str, Histogram] = {}

    def judged(self, said: Judged, exemplar: dict[str, str] | None = None) -> None:
        """A suite was judged; the exemplar is of its trace, where it has one."""
        self.tasks(said.judge, said.judged, said.failed)
        self._of[said.judge][2].observe(said.seconds, exemplar)
        self.busy(said.judge, said.seconds)
        for rung, count in said.retries.items():
            metrics.RETRIES.labels(said.judge, rung).inc(count)

    def tasks(self, judge: str, judged: int, failed: int) -> None:
        """So many tasks got a value, so many did not."""
        of = self._of.get(judge)
        if of is None:
            of = self._of[judge] = (
                metrics.TASKS_JUDGED.labels(judge, "value"),
                metrics.TASKS_JUDGED.labels(judge, "error"),
                metrics.SUITE_SECONDS.labels(judge),
            )
        if judged:
            of[0].inc(judged)
        if failed:
            of[1].inc(failed)

    def taken(self, judge: str, delivery: Delivery, now: float) -> None:
        """A child begins with a suite."""
        seconds = waited(delivery.headers, now)
        if seconds is None:
            return
        wait = self._waits.get(judge)
        if wait is None:
            wait = self._waits[judge] = metrics.QUEUE_SECONDS.labels(judge)
        wait.observe(seconds, tracing.exemplar(delivery))

    def busy(self, judge: str, seconds: float) -> None:
        """A child has judged for so many seconds."""
        metrics.BUSY_SECONDS.labels(judge).inc(seconds)
