"""Tasks and judgments as JSON, for judges that are no Python."""

from __future__ import annotations

import base64

from manyhands.handlers import Judgment
from manyhands_worker.judging import NoJudgment


def plain(value: object) -> object:
    """Bytes as JSON can carry them."""
    if isinstance(value, (bytes, bytearray)):
        return {"base64": base64.b64encode(value).decode()}
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def judgment(said: object) -> Judgment | Exception:
    """What ``{"value": ..., "confidence"?: ...}`` or ``{"error": "why"}`` says of a task."""
    if isinstance(said, dict) and said.get("error") is not None:
        return NoJudgment(str(said["error"]))
    if not isinstance(said, dict) or "value" not in said:
        return NoJudgment(f'an answer is {{"value": ...}} or {{"error": "why"}}, not {str(said)[:200]}')
    return Judgment(said["value"], said.get("confidence"))
