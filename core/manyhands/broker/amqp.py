"""What AMQP says of routing keys and RabbitMQ of dead letters, as functions: for brokers that do neither themselves."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

#: The words of a binding that stand for others, with the dot before them.
_WORDS = {"*": r"\.[^.]+", "#": r"(?:\.[^.]+)*"}


def matches(kind: str, pattern: str, key: str) -> bool:
    """Whether a binding of an exchange of this kind takes a key.

    In a topic ``*`` stands for one word and ``#`` for any number of words, also for none. Source: AMQP 0-9-1, 3.1.3.3.
    """
    if kind == "fanout" or (kind == "topic" and pattern == "#"):
        return True
    if kind == "direct" or not ("*" in pattern or "#" in pattern):
        return pattern == key
    regex = "".join(_WORDS.get(word, r"\." + re.escape(word)) for word in pattern.split("."))
    return re.fullmatch(regex, f".{key}") is not None


def with_death(headers: Mapping[str, Any], queue: str, reason: str) -> dict[str, Any]:
    """Headers that tell of one more death: the newest first, each queue and reason once.

    Source: RabbitMQ, "Dead Letter Exchanges", effects on messages.
    """
    deaths = list(headers.get("x-death", ()))
    same = [d for d in deaths if (d["queue"], d["reason"]) == (queue, reason)]
    newest = {"queue": queue, "reason": reason, "count": 1 + sum(d["count"] for d in same)}
    first = {"x-first-death-queue": queue, "x-first-death-reason": reason}
    return {**first, **headers, "x-death": [newest, *(d for d in deaths if d not in same)]}
