"""Back-off: bounds and the rungs of the retry ladder."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from manyhands.backoff import LADDER, reconnect_delay, rung

chance = st.floats(0, 1, exclude_max=True)


@given(attempt=st.integers(1, 10**6), by_chance=chance)
def test_reconnect_bounds(attempt: int, by_chance: float) -> None:
    """A delay is between half of the exponential and all of it, and never over the cap."""
    delay = reconnect_delay(attempt, lambda: by_chance, base=0.1, cap=15.0)
    whole = min(15.0, 0.1 * 2 ** min(attempt - 1, 30))
    assert whole / 2 <= delay <= whole


def test_reconnect_grows() -> None:
    """The first attempts come quickly, later ones every 7.5 to 15 s."""
    assert reconnect_delay(1, lambda: 0.0) == 0.05
    assert reconnect_delay(5, lambda: 1.0) == 1.6
    assert reconnect_delay(40, lambda: 0.0) == 7.5


@given(attempt=st.integers(-1, 10**6), by_chance=chance, after=st.none() | st.floats(0, 1e6))
def test_rung_is_on_the_ladder(attempt: int, by_chance: float, after: float | None) -> None:
    """Whatever a message says of its attempt, the delay has a queue, and is as long as asked where one is."""
    delay = rung(attempt, lambda: by_chance, after)
    assert delay in LADDER
    if after is not None:
        assert delay >= min(after, LADDER[-1])


def test_climbing() -> None:
    """Each attempt waits on its own rung, or by chance on the one above; the last rung is the last."""
    assert [rung(a, lambda: 0.9) for a in range(1, 8)] == [*LADDER, LADDER[-1], LADDER[-1]]
    assert [rung(a, lambda: 0.1) for a in range(1, 6)] == [*LADDER[1:], LADDER[-1]]


def test_least_delay() -> None:
    """`after` lifts the rung, and never lowers it."""
    assert rung(1, lambda: 0.9, after=20) == 30
    assert rung(4, lambda: 0.9, after=2) == 120
    assert rung(1, lambda: 0.9, after=86_400) == 600
