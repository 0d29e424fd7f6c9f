"""Where the next judgment changes most."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def gain(posterior: NDArray[np.float64], right: float) -> float:
    """The entropy of a task's answer, in nats, that one more judgment is expected to take away; 0 if it tells nothing.

    ``posterior`` has K entries; the judgment is right with probability ``right`` and else any of the other classes, as
    likely as the next. This is the mutual information of answer and judgment, H(judgment) - H(judgment | answer)
    (D. V. Lindley, *On a measure of the information provided by an experiment*, 1956). It is greatest where the answers
    are level, and next to nothing where one is almost certain.
    """
    classes = len(posterior)
    if classes < 2:
        return 0.0
    wrong = (1 - right) / (classes - 1)
    said = wrong + (right - wrong) * np.asarray(posterior, np.float64)
    return max(0.0, _entropy(said.tolist()) - _entropy([right, *[wrong] * (classes - 1)]))


def _entropy(shares: Sequence[float]) -> float:
    return -math.fsum(share * math.log(share) for share in shares if share > 0)
