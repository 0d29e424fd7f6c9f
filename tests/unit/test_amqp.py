"""Routing keys and deaths, as AMQP and RabbitMQ have them."""

from __future__ import annotations

from typing import Any

import pytest

from manyhands.broker.amqp import matches, with_death


@pytest.mark.parametrize(
    ("pattern", "key", "taken"),
    [
        ("svm", "svm", True),
        ("svm", "svm.5s", False),
        ("svm.*", "svm.5s", True),
        ("svm.*", "svm", False),
        ("svm.*", "svm.5s.x", False),
        ("*.5s", "svm.5s", True),
        ("*.5s", "5s", False),
        ("tasks.#", "tasks", True),
        ("tasks.#", "tasks.a.b", True),
        ("tasks.#", "tasksb.a", False),
        ("#", "", True),
        ("#", "a.b", True),
        ("#.b", "b", True),
        ("a.#.b", "a.b", True),
        ("a.#.b", "a.x.y.b", True),
        ("a+b.*", "aab.c", False),
    ],
)
def test_topic(pattern: str, key: str, taken: bool) -> None:
    """`*` stands for one word, `#` for any number of words, everything else for itself."""
    assert matches("topic", pattern, key) is taken


def test_other_kinds() -> None:
    """A direct exchange compares keys, a fanout does not look at them."""
    assert matches("direct", "*", "*")
    assert not matches("direct", "*", "a")
    assert matches("fanout", "a", "b")


def test_deaths() -> None:
    """The newest death stands first, each queue and reason once with its count; the first one is kept by name."""
    headers: dict[str, Any] = {"mine": 1}
    for queue, reason in [("retry.1s", "expired"), ("retry.5s", "expired"), ("retry.1s", "expired")]:
        headers = with_death(headers, queue, reason)
    headers = with_death(headers, "tasks.a", "delivery_limit")
    assert [(d["queue"], d["reason"], d["count"]) for d in headers["x-death"]] == [
        ("tasks.a", "delivery_limit", 1),
        ("retry.1s", "expired", 2),
        ("retry.5s", "expired", 1),
    ]
    assert (headers["x-first-death-queue"], headers["x-first-death-reason"]) == ("retry.1s", "expired")
    assert headers["mine"] == 1
