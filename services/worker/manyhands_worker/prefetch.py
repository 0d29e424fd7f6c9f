"""How many suites a worker holds: enough that its children never wait, few enough that other workers get theirs."""

from __future__ import annotations

import math

#: Seconds of work that are held. Longer hides longer round trips to the broker, but is lost to the other workers.
HELD_SECONDS = 1.0
#: The most suites held of one queue, however cheap: each is a body in memory.
MOST = 256
#: Share of a new measurement in the smoothed one.
SHARE = 0.1
#: A prefetch that is off by less than this factor stays: a change costs a round trip on every queue.
WORTHWHILE = 2.0


def prefetch(seconds_per_suite: float | None, children: int) -> int:
    """Suites to hold when one costs ``seconds_per_suite`` (None: not yet measured) and ``children`` judge at once.

    At least one more than there are children, so that none of them waits for the broker.
    """
    if seconds_per_suite is None:
        return 2 * children
    held = math.ceil(HELD_SECONDS * children / max(seconds_per_suite, 1e-6))
    return max(children + 1, min(MOST, held))


def smoothed(before: float | None, measured: float) -> float:
    """The exponentially weighted mean of the measurements so far and a new one."""
    return measured if before is None else before + SHARE * (measured - before)


def worthwhile(now: int, better: int) -> bool:
    """Whether to go from ``now`` to ``better``."""
    return better >= now * WORTHWHILE or now >= better * WORTHWHILE
