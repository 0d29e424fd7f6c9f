"""How good the workers of a bundle are, as ``manyhands workers`` tells it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from manyhands.messages import Judgments
from manyhands.spec import JobSpec
from manyhands_aggregator.bundle.reading import Suite
from manyhands_aggregator.plan import Plan
from manyhands_aggregator.said import Columns
from manyhands_aggregator.workers import measure

#: Rows that are looked at, at most, of some 200 bytes each all in all. Of a larger job it is suites, spread evenly.
LIMIT = 500_000


class Ratings:
    """Suites as they pass by, of a job of so many ``judgments``."""

    def __init__(self, spec: JobSpec, judgments: int) -> None:
        self._columns = Columns(Plan.of(spec))
        self._step = max(1, math.ceil(judgments * self._columns.width / LIMIT))

    def add(self, suite: Suite, messages: Sequence[Judgments]) -> None:
        """Look at a suite, if it is among those that are looked at."""
        if messages and suite.number % self._step == 0:
            truths = [task.get("truth") for task in suite.tasks]
            self._columns.add(messages, suite.first, len(suite.tasks), truths)

    def report(self) -> list[dict[str, Any]]:
        """A row for each judge and each person; none where nobody judged anything."""
        return measure(self._columns, 1 / self._step).ratings() if self._columns.names else []
