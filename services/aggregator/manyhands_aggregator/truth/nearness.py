"""When a number is right: the one place that says so, for jobs and for files; of numbers and of arrays of them."""

from __future__ import annotations

from typing import Any

#: How far a number may be from the truth to be right, in the range of the answer type; where that has none, in the
#: truth's own magnitude, and of a file in the range of nine tenths of the numbers given.
WITHIN = 0.05
#: Numbers that agree to nine digits are the same, however narrow the range.
DIGITS = 1e-9


def reach(truth: Any, low: float | None, high: float | None) -> Any:
    """How far a number may be from this truth to be right, if answers lie between ``low`` and ``high``."""
    if low is None or high is None:
        return WITHIN * abs(truth)
    return WITHIN * high - WITHIN * low  # in parts: the ends may be 1e308 apart


def is_near(value: Any, truth: Any, within: Any) -> Any:
    """Whether a number is no further from the truth than this."""
    return abs(value / 2 - truth / 2) <= within / 2 + DIGITS * (1 + abs(truth) / 2)  # halves: as above
