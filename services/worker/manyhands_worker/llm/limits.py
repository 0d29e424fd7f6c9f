"""What a server says of when it may be asked again: in the headers of its refusals. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from manyhands_worker.http import retry_after

#: Of what there are limits.
_KINDS = ("requests", "tokens")
#: A time as ``1h2m3.5s`` or ``20ms``, and its units in seconds.
_TIME = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")
_UNITS = (3600.0, 60.0, 1.0, 0.001)
#: Above this a number of seconds is counted from 1970.
_DAYS = 1e8


def wait(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds that the server wants us to wait; None where it does not say. ``now`` is in seconds since 1970.

    By ``retry-after-ms``, ``Retry-After`` (seconds or a date), or else the ``x-ratelimit-reset-requests`` and
    ``-tokens`` of what there is none left of; of both where it does not say what that is.
    """
    try:
        return max(0.0, float(headers["retry-after-ms"]) / 1000)
    except (KeyError, ValueError):
        pass
    said = retry_after(headers.get("retry-after"), now)
    if said is not None:
        return said
    resets = {kind: _seconds(headers.get(f"x-ratelimit-reset-{kind}", ""), now) for kind in _KINDS}
    gone = [kind for kind in _KINDS if headers.get(f"x-ratelimit-remaining-{kind}", "").strip() == "0"]
    waits = [seconds for kind in gone or _KINDS if (seconds := resets[kind]) is not None]
    return max(waits, default=None)


def _seconds(text: str, now: float) -> float | None:
    text = text.strip()
    try:
        seconds = float(text)
    except ValueError:
        found = _TIME.fullmatch(text)
    else:  # or a point of time
        return retry_after(str(seconds - now if seconds > _DAYS else seconds), now)
    if not text or found is None:
        return None
    return sum(float(amount) * unit for amount, unit in zip(found.groups(), _UNITS, strict=True) if amount)
