"""How many suites a worker holds."""

import pytest

from manyhands_worker.prefetch import prefetch, smoothed, worthwhile


@pytest.mark.parametrize(
    ("seconds", "children", "held"),
    [(None, 2, 4), (0.001, 2, 256), (0.1, 2, 20), (1.0, 4, 5), (60.0, 4, 5), (0.0, 1, 256), (0.01, 400, 401)],
)
def test_prefetch(seconds: float | None, children: int, held: int) -> None:
    """About a second of work, one more than there are children at least, 256 at most."""
    assert prefetch(seconds, children) == held


def test_smoothing_and_changing() -> None:
    """The first measurement counts whole, later ones a tenth; only a change by a factor of two is made."""
    assert smoothed(None, 2.0) == 2.0
    assert smoothed(1.0, 2.0) == pytest.approx(1.1)
    assert [worthwhile(10, better) for better in (5, 6, 19, 20)] == [True, False, False, True]
