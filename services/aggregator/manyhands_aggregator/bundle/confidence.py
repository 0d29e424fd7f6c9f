"""How confident answers are, and how far that can be believed."""

from __future__ import annotations

from dataclasses import dataclass, field

#: Bins of equal width.
BINS = 20


@dataclass(slots=True)
class Confidence:
    """Answers by their stated confidence, in ``BINS`` bins of 0..1: how many, and where the truth is known
    how many are ``known`` and ``right``, and the sum of the confidences ``stated`` of them."""

    count: list[int] = field(default_factory=lambda: [0] * BINS)
    known: list[int] = field(default_factory=lambda: [0] * BINS)
    right: list[int] = field(default_factory=lambda: [0] * BINS)
    stated: list[float] = field(default_factory=lambda: [0.0] * BINS)
    sum: float = 0.0

    def add(self, confidence: float, right: bool | None) -> None:
        """Count an answer; ``right`` is None where the truth is not known."""
        at = min(int(confidence * BINS), BINS - 1)
        self.count[at] += 1
        self.sum += confidence
        if right is not None:
            self.known[at] += 1
            self.right[at] += right
            self.stated[at] += confidence

    @property
    def mean(self) -> float | None:
        """The mean confidence."""
        return self.sum / sum(self.count) if any(self.count) else None

    @property
    def error(self) -> float | None:
        """The expected calibration error: the mean distance between confidence and accuracy; None without truths.

        Naeini, Cooper and Hauskrecht, "Obtaining well calibrated probabilities using Bayesian binning" (AAAI 2015).
        """
        apart = [abs(s - r) for s, r, known in zip(self.stated, self.right, self.known, strict=True) if known]
        return sum(apart) / sum(self.known) if apart else None
