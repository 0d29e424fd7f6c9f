"""Replays that are meant for some versions of a handler: what the aggregator writes on them and workers read. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from manyhands.backoff import LADDER

#: The version that is not to judge it again, and the only one that may.
NOT_VERSION, ONLY_VERSION = "mh-not-version", "mh-only-version"
#: When it was replayed: seconds since 1970, as text.
REPLAYED_AT = "mh-replayed"
#: What a suite keeps of this when it is handed on.
HEADERS = (NOT_VERSION, ONLY_VERSION, REPLAYED_AT)
#: Seconds for which it is handed on, from worker to worker, until it is set aside again.
PATIENCE = 86_400.0
#: It waits for this part of the time that it has been under way, as nearly as the ladder has it.
PART = 0.25


def headers(now: float, *, unless: str = "", only: str = "") -> dict[str, str]:
    """The headers of a suite that is replayed for any version but one, or for one only; none where both are empty."""
    said = {key: version for key, version in ((NOT_VERSION, unless), (ONLY_VERSION, only)) if version}
    return {**said, REPLAYED_AT: repr(now)} if said else {}


def suits(headers: Mapping[str, Any], version: str) -> bool:
    """Whether a handler of this version is to judge a suite with these headers."""
    return headers.get(NOT_VERSION) != version and headers.get(ONLY_VERSION, version) == version


def rung(headers: Mapping[str, Any], now: float) -> float | None:
    """The rung of the retry ladder on which it waits for another worker; None when it has waited for long enough."""
    try:
        gone = now - float(headers.get(REPLAYED_AT, "nan"))
    except (TypeError, ValueError):
        gone = math.nan
    if not gone < PATIENCE:  # nor a time that is none
        return None
    return max((seconds for seconds in LADDER if seconds <= gone * PART), default=LADDER[0])
