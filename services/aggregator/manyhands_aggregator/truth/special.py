"""The digamma function, which numpy has not."""

from __future__ import annotations

import numpy as np

from manyhands_aggregator.truth.ballots import Floats

#: So far the argument is moved up before the asymptotic series, which then is exact to the last digits.
_UP = 6
#: Coefficients of 1/x^2, 1/x^4 and so on: B(2n) / 2n, of Bernoulli's numbers.
_SERIES = (1 / 12, -1 / 120, 1 / 252, -1 / 240, 1 / 132, -691 / 32760, 1 / 12)


def digamma(x: Floats) -> Floats:
    """The derivative of the logarithm of the gamma function, of positive numbers of any shape; error below 1e-12 x.

    Source: M. Abramowitz, I. A. Stegun, "Handbook of Mathematical Functions", 6.3.5 and 6.3.18.
    """
    far = x + _UP
    square = 1.0 / (far * far)
    found: Floats = np.zeros_like(far)
    for coefficient in reversed(_SERIES):
        found -= coefficient
        found *= square
    found += np.log(far)
    found -= 0.5 / far
    for step in range(_UP):
        found -= 1.0 / (x + step)
    return found
