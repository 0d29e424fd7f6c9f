"""The conservation law, checked over the accounts of both services; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def balance(producer: Mapping[str, Any] | None, aggregator: Mapping[str, Any]) -> dict[str, Any]:
    """Join the audits of producer and aggregator into one account of a job.

    ``difference`` is the number of tasks that are in no account, ``unannounced`` that of tasks which the producer has
    cut and the aggregator has not heard of yet (while the job is open these are on their way). ``conserved`` says that
    tasks = answered + failed + cancelled + open, counted from the rows themselves, and that both agree on the tasks.
    """
    account = dict(aggregator)
    ended = aggregator["state"] != "open"
    if producer is None:
        return account
    tasks = producer["tasks"]
    unannounced = tasks - aggregator["tasks"]
    account |= {
        "tasks": max(tasks, aggregator["tasks"]),
        "unannounced": unannounced,
        "spooled": producer["spooled"],
        "published": producer["published"],
        "settled_suites": producer["settled"],
    }
    if not ended:
        account["open"] = aggregator["open"] + max(unannounced, 0)
        account["difference"] = aggregator["difference"]
        account["conserved"] = aggregator["conserved"] and unannounced >= 0
        return account
    account["difference"] = aggregator["difference"] + unannounced
    account["conserved"] = aggregator["conserved"] and unannounced == 0
    return account


#: The aggregator's account of a job that it has not heard of yet.
UNHEARD: dict[str, Any] = {
    "state": "open", "tasks": 0, "sealed": False, "suites": 0, "announced": 0, "answered": 0, "failed": 0,
    "cancelled": 0, "open": 0, "difference": 0, "conserved": True,
}  # fmt: skip
