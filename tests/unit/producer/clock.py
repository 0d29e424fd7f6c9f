"""A clock for loops that compare times."""

from manyhands.testing import FakeClock


class TurningClock(FakeClock):
    """A fake clock that also moves a little whenever it is looked at, as time does."""

    def monotonic(self) -> float:
        """A millisecond later than before."""
        self.turn(0.001)
        return super().monotonic()
