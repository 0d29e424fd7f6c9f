"""Whose suite is published next: a pure decision."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping


def turns(ready: Mapping[str, int], last: str | None, most: int) -> list[str]:
    """The jobs in the order in which each publishes a suite: round robin, beginning behind the job ``last``.

    ``ready`` says how many suites each job may publish now, in the order of its turn; no job gets more, and there are
    at most ``most`` turns. While two jobs both have suites left, neither is ever more than one turn ahead.
    """
    left = dict(ready)
    circle = deque(ready)
    if last in ready:
        while circle[-1] != last:
            circle.rotate(-1)
    circle = deque(job for job in circle if left[job] > 0)
    order: list[str] = []
    while circle and len(order) < most:
        if len(circle) == 1:  # nobody to take turns with
            job = circle[0]
            return order + [job] * min(left[job], most - len(order))
        job = circle.popleft()
        order.append(job)
        left[job] -= 1
        if left[job]:
            circle.append(job)
    return order
