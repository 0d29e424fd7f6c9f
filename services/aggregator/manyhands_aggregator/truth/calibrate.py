"""What a voter's own confidence is worth: how often it was right when it stated so much."""

from __future__ import annotations

import math
from collections.abc import Mapping

#: Comparisons before a stated confidence is believed. Of 30 right ones in a row the true share of errors is under 10 %
#: with 95 % certainty (the rule of three: 3 / n); with fewer, a stated 0.98 is no better than the voter's record.
ENOUGH = 30
#: Bins to a unit of log-odds, and the log-odds beyond which all confidences are one: 0.0009 and 0.9991.
FINE, FAR = 2, 7.0
#: Before any evidence: right as Beta(2.8, 1.2) has it, in log-odds about 0.85 +- 1.3, and whatever is stated, the same.
CENTRE, SPREAD, SLOPE_SPREAD = 0.85, 1.3, 1.0
#: Newton's steps at most; it is there after five or six.
STEPS = 30


def log_odds(probability: float) -> float:
    """The logarithm of p / (1 - p), within +-7."""
    if not 0.0 < probability < 1.0:
        return FAR if probability >= 1.0 else -FAR
    return max(-FAR, min(FAR, math.log(probability / (1.0 - probability))))


class Calibration:
    """Counts of one voter's right and wrong judgments by the confidence it stated, in at most 29 bins.

    Whole numbers: the order of learning changes nothing. The probability of being right is
    ``sigmoid(a + b x)`` of the stated log-odds x (Platt, *Probabilistic outputs for support vector machines*, 1999),
    a and b at the maximum of their posterior, with normal priors that say: no matter what is stated, right as often as
    any new voter. It is then drawn towards even by how unsure a and b are (MacKay, *The evidence framework applied to
    classification networks*, 1992, eq. 11), and nothing is believed beyond the confidences seen so far.
    """

    def __init__(self, bins: Mapping[int, tuple[int, int]] | None = None) -> None:
        self._bins = {place: list(counts) for place, counts in (bins or {}).items()}  # right, compared
        self._fitted: _Line | None = None

    def learn(self, confidence: float, right: bool) -> None:
        """Count a judgment stated with this confidence (0..1), compared with gold or an answer that others bore out."""
        counts = self._bins.setdefault(round(FINE * log_odds(confidence)), [0, 0])
        counts[0] += right
        counts[1] += 1
        self._fitted = None

    @property
    def compared(self) -> int:
        """How many judgments were compared."""
        return sum(compared for _, compared in self._bins.values())

    def bins(self) -> dict[int, tuple[int, int]]:
        """The whole state: by twice the stated log-odds, how many were right and how many compared."""
        return {place: (right, compared) for place, (right, compared) in sorted(self._bins.items())}

    def right(self, confidence: float) -> float | None:
        """The probability, 0..1, that a judgment stated with this confidence is right; None before there is enough."""
        if self._fitted is None:
            if self.compared < ENOUGH:
                return None
            self._fitted = _Line(self.bins())
        return self._fitted.right(log_odds(confidence))


class _Line:
    """A fitted line: the place and slope of the log-odds of being right over those stated, and how sure they are."""

    def __init__(self, bins: Mapping[int, tuple[int, int]]) -> None:
        self.low, self.high = min(bins) / FINE, max(bins) / FINE
        total = sum(compared for _, compared in bins.values())
        self.middle = sum(place * compared for place, (_, compared) in bins.items()) / FINE / total
        rows = [(place / FINE - self.middle, right, compared) for place, (right, compared) in bins.items()]
        self.a, self.b = CENTRE, 0.0
        for _ in range(STEPS):
            slope_a, slope_b = -(self.a - CENTRE) / SPREAD**2, -self.b / SLOPE_SPREAD**2
            aa, ab, bb = 1 / SPREAD**2, 0.0, 1 / SLOPE_SPREAD**2
            for x, right, compared in rows:
                p = _sigmoid(self.a + self.b * x)
                slope_a += right - compared * p
                slope_b += (right - compared * p) * x
                weight = compared * p * (1 - p)
                aa, ab, bb = aa + weight, ab + weight * x, bb + weight * x * x
            area = aa * bb - ab * ab
            step_a, step_b = (bb * slope_a - ab * slope_b) / area, (aa * slope_b - ab * slope_a) / area
            longest = max(abs(step_a), abs(step_b), 1.0)  # no step longer than 1: far out the curve is flat
            self.a, self.b = self.a + step_a / longest, self.b + step_b / longest
            if longest == 1.0 and max(abs(step_a), abs(step_b)) < 1e-9:
                break
        self.var_a, self.cov, self.var_b = bb / area, -ab / area, aa / area

    def right(self, stated: float) -> float:
        x = max(self.low, min(self.high, stated)) - self.middle
        variance = self.var_a + 2 * self.cov * x + self.var_b * x * x
        return _sigmoid((self.a + self.b * x) / math.sqrt(1 + math.pi * variance / 8))


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))
