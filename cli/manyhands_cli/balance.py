"""The conservation law, checked over the accounts of both services, and where each task stands; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Places in the broker, and the queues that are meant, by the first part of their names.
PLACES = {
    "in_queue": "tasks", "suspects": "suspects", "retried": "retry", "judged": "judgments", "news": "events",
    "set_aside": "dead",
}  # fmt: skip
#: What the aggregator tells for this reckoning, and nobody else needs.
INNER = ("judged", "slots", "unsettled", "whole", "asked", "held")


def balance(
    producer: Mapping[str, Any] | None, aggregator: Mapping[str, Any], after: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Join the audits of producer and aggregator into one account of a job.

    ``producer`` was asked before the aggregator, and ``after`` once more behind it: so what moves in between, and it
    does while the job is open, is taken for no fault.

    ``difference`` is the number of tasks that are in no account, ``unannounced`` that of tasks which the producer has
    cut and the aggregator has not heard of yet (while the job is open these are on their way), ``missing_suites`` that
    of suites which are neither settled nor in the producer's spool. ``conserved`` says that tasks = answered + failed +
    cancelled + open, counted from the rows themselves, that both agree on the tasks, and that the spool lacks nothing.
    ``stands`` says where each task is, ``messages`` where messages are.
    """
    account = {key: said for key, said in aggregator.items() if key not in INNER}
    if producer is None:
        return account
    after = after or producer
    unannounced = after["tasks"] - aggregator["tasks"]
    lost, missing = _lost(producer, aggregator, after), _missing(after)
    if aggregator["state"] == "open":
        account["open"] = aggregator["open"] + max(unannounced, 0)
        off = lost + min(unannounced, 0)
    else:
        off = unannounced
    account |= {
        "tasks": max(after["tasks"], aggregator["tasks"]),
        "unannounced": unannounced,
        "spooled": after["spooled"],
        "published": after["published"],
        "settled_suites": after["settled"],
        "missing_suites": missing,
        "difference": aggregator["difference"] + off,
        "conserved": aggregator["conserved"] and off == missing == 0,
    }
    account["stands"] = _stands(account, aggregator, after)
    account["messages"] = _messages(aggregator, after)
    return account


def _lost(producer: Mapping[str, Any], aggregator: Mapping[str, Any], after: Mapping[str, Any]) -> int:
    """Open tasks that the producer let go of: who has forgotten that they were settled asks for them in vain."""
    if aggregator["state"] != "open":
        return 0
    if producer["state"] == "ended":  # the aggregator itself had said so
        return int(aggregator["open"])
    if after["state"] not in ("open", "sealed") or "spooled_tasks" not in producer:  # an earlier version does not tell
        return 0
    # settled for the producer is settled for the aggregator, which was asked later, and had settled it first
    return int(max(0, producer["tasks"] - producer["spooled_tasks"] - (aggregator["tasks"] - aggregator["open"])))


def _missing(producer: Mapping[str, Any]) -> int:
    """Suites of an open job that the producer neither has nor has heard to be settled."""
    if producer["state"] not in ("open", "sealed") or "spooled_tasks" not in producer:
        return 0
    return int(producer["suites"] - producer["settled"] - producer["spooled"])


def _stands(account: Mapping[str, Any], aggregator: Mapping[str, Any], producer: Mapping[str, Any]) -> dict[str, int]:
    """Each task in one place; the sum is that of all tasks if the law holds."""
    left = account["open"]
    judged = min(left, aggregator.get("judged", 0))
    spooled = producer.get("spooled_tasks", 0) - producer.get("in_flight_tasks", 0)
    unpublished = max(0, min(left - judged, spooled))
    return {
        "unpublished": unpublished, "published": left - judged - unpublished, "judged": judged,
        **{key: account[key] for key in ("answered", "failed", "cancelled")},
    }  # fmt: skip


def _messages(aggregator: Mapping[str, Any], producer: Mapping[str, Any]) -> dict[str, int] | None:
    """Messages ready in the queues that the job's pass, those of other jobs among them, and those in somebody's hands.

    The broker does not tell what is in hands. But of each published suite every slot that has not said all is a message
    somewhere, and what is in no queue is ``delivered``: so many at least, for queues hold other jobs' messages as well.
    None where nobody could look.
    """
    queues = aggregator.get("queues")
    if queues is None:
        return None
    found = dict.fromkeys(PLACES, 0)
    for queue, ready in queues.items():
        parts = queue.split(".")
        for place, first in PLACES.items():
            if parts[-2:-1] == [first]:
                found[place] += ready
    waiting = sum(found[place] for place in ("in_queue", "suspects", "retried", "judged")) + aggregator.get("held", 0)
    # what the aggregator has settled stays in the spool until the producer hears of it
    unheard = max(0, producer["suites"] - aggregator["suites"])
    suites = min(producer.get("in_flight", 0), aggregator.get("unsettled", 0) + unheard)
    asked = suites * aggregator.get("slots", 0) - aggregator.get("whole", 0) + aggregator.get("asked", 0)
    delivered = max(0, asked - waiting) if aggregator["state"] == "open" else 0
    return {**found, "delivered": delivered}


#: The aggregator's account of a job that it has not heard of yet.
UNHEARD: dict[str, Any] = {
    "state": "open", "tasks": 0, "sealed": False, "suites": 0, "announced": 0, "answered": 0, "failed": 0,
    "cancelled": 0, "open": 0, "difference": 0, "conserved": True,
}  # fmt: skip
