"""What one voter of a job comes to: a judge, or a worker of a judge."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple


class Share(NamedTuple):
    """``part`` of ``whole``, as a share with the interval of Wilson at 95 %; None where there is no whole.

    Wilson, "Probable inference, the law of succession, and statistical inference" (Journal of the American Statistical
    Association 22, 1927).
    """

    part: int
    whole: int

    @property
    def share(self) -> float | None:
        """0..1."""
        return self.part / self.whole if self.whole else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Where the share lies, 0..1."""
        if not self.whole:
            return None
        z, n, p = 1.959964, self.whole, self.part / self.whole
        middle, spread = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return max(0.0, (middle - spread) / (1 + z * z / n)), min(1.0, (middle + spread) / (1 + z * z / n))


@dataclass(slots=True)
class Tally:
    """Judgments and failures of a voter; of those that can be compared, how many agreed with the answer or were right.

    ``off`` is the sum of the distances of ``measured`` numbers from the answers; ``seconds`` is working time, ``cost``
    what was paid for.
    """

    judgments: int = 0
    errors: int = 0
    compared: int = 0
    agreed: int = 0
    gold: int = 0
    right: int = 0
    measured: int = 0
    off: float = 0.0
    seconds: float = 0.0
    cost: float = 0.0

    @property
    def agreement(self) -> Share:
        """With the answers."""
        return Share(self.agreed, self.compared)

    @property
    def accuracy(self) -> Share:
        """Where the truth is known."""
        return Share(self.right, self.gold)

    @property
    def seconds_each(self) -> float | None:
        """Working time for a judgment or failure; None without any."""
        said = self.judgments + self.errors
        return self.seconds / said if said else None
