"""Whose suite is published next."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from manyhands_producer.scheduler import turns

READY = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 20), max_size=6)


@given(READY, st.sampled_from([None, *"abcdef"]), st.integers(0, 60))
def test_jobs_take_turns(ready: dict[str, int], last: str | None, most: int) -> None:
    """No job is ever more than one turn ahead of another that has suites left, and no turn is wasted."""
    order = turns(ready, last, most)
    assert len(order) == min(most, sum(ready.values()))
    had: Counter[str] = Counter()
    for job in order:
        had[job] += 1
        assert had[job] <= ready[job]
        waiting = [had[other] for other in ready if had[other] < ready[other]]
        assert all(had[job] - count <= 1 for count in waiting)


@given(READY, st.integers(1, 5))
def test_turns_go_on_behind_the_last(ready: dict[str, int], most: int) -> None:
    """Many short rounds, each begun behind the job that came last, are as fair as a long one."""
    left, last, had = dict(ready), None, Counter[str]()
    while order := turns(left, last, most):
        last = order[-1]
        for job in order:
            left[job] -= 1
            had[job] += 1
        open_jobs = [had[job] for job in left if left[job]]
        assert not open_jobs or max(open_jobs) - min(open_jobs) <= 1
    assert had == Counter({job: count for job, count in ready.items() if count})


def test_a_small_job_does_not_wait_for_a_large_one() -> None:
    """A job of 100 suites behind one of a million has its turn every other time."""
    order = turns({"large": 1_000_000, "small": 100}, "large", 200)
    assert order[:3] == ["small", "large", "small"]
    assert Counter(order) == {"large": 100, "small": 100}
