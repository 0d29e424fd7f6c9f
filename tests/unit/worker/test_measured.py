"""What the worker counts of suites: how long they waited, and how busy children were."""

from __future__ import annotations

import time
from typing import Any

import pytest
from prometheus_client import REGISTRY

from tests.unit.worker.harness import PLAIN, TROUBLE, Results, delivery, judge, pool, retried, suite


def sample(name: str, judge: str) -> float:
    """A sample of a judge's metric; 0 before its first."""
    return REGISTRY.get_sample_value(name, {"judge": judge}) or 0.0


def handled(handlers: str, judge: str, payloads: list[Any], headers: dict[str, Any]) -> Results:
    """What came of one suite with these headers."""
    results = Results()
    with pool(handlers) as made:
        made.handle([delivery(suite(judge, payloads), headers)], results.finish)
        results.wait(1)
    return results


def test_queue_seconds() -> None:
    """A suite's wait is from its publishing to when a child begins with it."""
    count, total = sample("manyhands_queue_seconds_count", "echo"), sample("manyhands_queue_seconds_sum", "echo")
    handled(PLAIN, "echo", [1, 2], {"mh-published": str(time.time() - 40)})
    assert sample("manyhands_queue_seconds_count", "echo") == count + 1
    assert 40 <= sample("manyhands_queue_seconds_sum", "echo") - total < 100


@pytest.mark.parametrize("forged", ["yesterday", "", "0", "nan", "1e300", "9" * 400, True, 1.7e9, ["x"]])
def test_a_forged_time_costs_nothing(forged: object) -> None:
    """The suite is judged all the same, and its wait is not counted; a clock that is ahead makes it 0."""
    count, total = sample("manyhands_queue_seconds_count", "echo"), sample("manyhands_queue_seconds_sum", "echo")
    handled(PLAIN, "echo", [1], {"mh-published": forged})
    assert sample("manyhands_queue_seconds_count", "echo") == count
    handled(PLAIN, "echo", [1], {"mh-published": str(time.time() + 100)})
    assert sample("manyhands_queue_seconds_count", "echo") == count + 1
    assert sample("manyhands_queue_seconds_sum", "echo") == total


def test_the_time_travels_on() -> None:
    """What is tried again, and a suspect suite, keep the time of the first publishing."""
    (outcome,) = handled(TROUBLE, "one", ["a", "raise"], {"mh-published": "1700000000.25"}).outcomes
    ((_, _, headers),) = retried(outcome.publish)
    assert headers["mh-published"] == "1700000000.25"
    results = Results()
    with pool(PLAIN) as made:
        made.handle([delivery(suite("echo", ["a", "b"]), {"mh-published": "1700000000.25"}, count=9)], results.finish)
        (outcome,) = results.wait(1)
    assert [h["mh-published"] for _, _, h in retried(outcome.publish)] == ["1700000000.25"]


def test_busy_seconds() -> None:
    """The time of handlers is counted, also of those that took their child with them."""
    busy = sample("manyhands_busy_seconds_total", "echo")
    with pool(PLAIN) as made:
        judge(made, suite("echo", ["a"]))
    assert sample("manyhands_busy_seconds_total", "echo") > busy
    busy = sample("manyhands_busy_seconds_total", "one")
    with pool(TROUBLE) as made:
        judge(made, suite("one", ["kill"], attempt=3))
    assert sample("manyhands_busy_seconds_total", "one") > busy
