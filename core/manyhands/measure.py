"""Numbers for the metrics: how long ago something was, many observations at once, labels that cannot grow."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from prometheus_client import Histogram

from manyhands.codec import EVENT, JUDGMENTS, SUITE
from manyhands.messages import PUBLISHED_AT

#: Headers of a suite that was judged before, or in part: its wait is not a wait for its first judgment.
AGAIN = ("mh-history", "mh-deliveries")
#: Seconds by which a sender's clock may be ahead of ours. What is further ahead is forged.
SKEW = 3600.0
#: Seconds after which a time is not believed: one forged value must not spoil a sum for ever.
LONGEST = 30 * 86_400.0


def elapsed(then: object, now: float) -> float | None:
    """Seconds from ``then`` to ``now``, both since 1970; 0 where the other's clock is ahead.

    None where ``then`` is no believable time: anybody may have written it.
    """
    if type(then) not in (int, float):
        return None
    try:
        seconds = now - then  # type: ignore[operator]  # one of the two types above
    except OverflowError:  # an integer beyond every float
        return None
    if math.isnan(seconds) or not -SKEW <= seconds <= LONGEST:
        return None
    return max(0.0, seconds)


def waited(headers: Mapping[str, Any], now: float) -> float | None:
    """Seconds for which a suite has waited for a worker; None where nobody can know, or it was judged before."""
    if not headers or any(header in headers for header in AGAIN):
        return None
    published = headers.get(PUBLISHED_AT)
    if not isinstance(published, str):
        return None
    try:
        return elapsed(float(published), now)
    except ValueError:
        return None


def observe_all(histogram: Histogram, values: Sequence[float]) -> None:
    """Observe many values at once, in a histogram without labels: a twentieth of what ``observe`` costs for each."""
    if not values:
        return
    # the library has nothing for it; its buckets are counters each, added up when they are read
    bounds, buckets = histogram._upper_bounds, histogram._buckets
    if values.count(values[0]) == len(values):
        buckets[bisect_left(bounds, values[0])].inc(len(values))
    else:
        for index, count in Counter(bisect_left(bounds, value) for value in values).items():
            buckets[index].inc(count)
    histogram._sum.inc(sum(values))


class Few:
    """Label values that come from outside: the first so many are themselves, all later ones are ``other``.

    Who forges a message may then spoil a label, but can make no more of them.
    """

    def __init__(self, most: int, known: Sequence[str] = ()) -> None:
        self._most, self._known = most + len(known), set(known)

    def __call__(self, value: str) -> str:
        """The label for a value."""
        if value in self._known:
            return value
        if len(self._known) >= self._most or len(value) > 64:
            return "other"
        self._known.add(value)
        return value


#: The label for the type of a message; what its sender wrote there may be anything.
type_label = Few(5, (SUITE, JUDGMENTS, EVENT, "none"))
