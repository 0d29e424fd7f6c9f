"""How long to wait before trying again: pure functions of the attempt and of a random number given to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

#: The rungs of the retry ladder in seconds. One queue a rung, because a message's own time to live
#: is blocked by whatever waits in front of it.
LADDER: tuple[float, ...] = (1.0, 5.0, 30.0, 120.0, 600.0)


def reconnect_delay(attempt: int, random: Callable[[], float], base: float = 0.1, cap: float = 15.0) -> float:
    """Seconds before connection attempt ``attempt`` (1, 2, ...): full jitter over an exponential.

    The first attempts come quickly, since most outages are a restart of a few seconds. Source: Brooker,
    "Exponential Backoff and Jitter", 2015 (the half-jitter form: never less than half of the exponential).
    """
    ceiling = min(cap, base * 2.0 ** min(attempt - 1, 30))
    return ceiling * (0.5 + 0.5 * random())


def rung(
    attempt: int, random: Callable[[], float], after: float | None = None, ladder: Sequence[float] = LADDER
) -> float:
    """The rung on which a task waits after failing its ``attempt``-th time (1, 2, ...).

    The aim is the attempt's own rung; jitter comes from choosing, with one chance in three, the rung above, which
    spreads a burst of failures without a queue for every delay. ``after`` is a least delay in seconds, kept as long as
    the ladder has such a rung.
    """
    aim = max(0, min(attempt - 1, len(ladder) - 1))
    if random() < 1 / 3:
        aim = min(aim + 1, len(ladder) - 1)
    while after is not None and ladder[aim] < after and aim + 1 < len(ladder):
        aim += 1
    return ladder[aim]
