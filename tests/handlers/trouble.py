"""Handlers that get into every kind of trouble, by what their payload says."""

import ctypes
import os
import sys
import time
from pathlib import Path
from typing import Any

from manyhands import Judgment, RejectTask, RetryTask, judge
from manyhands.errors import HandBack


def obey(payload: str) -> str:
    """Do what the payload says; what it does not name is harmless."""
    match payload:
        case "exit":
            os._exit(3)
        case "crash":
            ctypes.string_at(0)
        case "hang":
            while True:
                time.sleep(60)
        case "raise":
            raise ValueError("what a payload")
        case "sys.exit":
            sys.exit(4)
        case "retry":
            raise RetryTask("busy", after=20)
        case "reject":
            raise RejectTask("never")
        case "back":
            raise HandBack("the model is being replaced")
        case "surrogate":
            raise ValueError("half of a pair: \udcff")
    return payload.upper()


@judge("one", version="2")
def one(payload: str) -> str:
    """One at a time."""
    return obey(payload)


@judge("many", version="2", batch=True)
def many(payloads: list[str]) -> list[str]:
    """All at once: one that raises or kills takes the others with it."""
    return [obey(payload) for payload in payloads]


@judge("limited", time_limit=0.2)
def limited(payload: str) -> str:
    """One at a time, with a soft limit."""
    return obey(payload)


@judge("limited-many", batch=True, time_limit=0.2)
def limited_many(payloads: list[str]) -> list[str]:
    """All at once, with a soft limit for the call."""
    return [obey(payload) for payload in payloads]


@judge("short", batch=True)
def short(payloads: list[str]) -> list[str]:
    """One judgment too few, unless there is only one to give."""
    return [payload.upper() for payload in payloads[1:] or payloads]


@judge("numpy", batch=True)
def numpy(payloads: list[int]) -> list[Any]:
    """NumPy's own types, nested and with a confidence."""
    import numpy as np  # not at the top: most children have no use for it, and start the sooner

    confidence: Any = np.float32(0.5)
    return [Judgment({"n": np.int64(p), "row": np.arange(2)}, confidence) for p in payloads]


@judge("array", batch=True)
def array(payloads: list[int]) -> Any:
    """One array for all."""
    import numpy as np

    return np.array(payloads) * 2


@judge("odd")
def odd(payload: str) -> Any:
    """Values and confidences that cannot be sent."""
    return {
        "object": object(),
        "confidence": Judgment("x", 1.5),
        "nan": Judgment("x", float("nan")),
        "huge": 1 << 70,
        "large": os.urandom(6000),
    }.get(payload, payload)


@judge("pid")
def pid(payload: object) -> int:  # noqa: ARG001  every judge is given one
    """The child that judged."""
    return os.getpid()


@judge("loads")
class Loads:
    """Says how often it was made in its child."""

    made = 0

    def __init__(self) -> None:
        type(self).made += 1

    def __call__(self, payload: object) -> list[int]:  # noqa: ARG002  as above
        """How often, and in which child."""
        return [self.made, os.getpid()]


@judge("unmade")
class Unmade:
    """Cannot be made."""

    def __init__(self) -> None:
        raise RuntimeError("no model here")


@judge("unmade-dies")
class UnmadeDies:
    """Kills its child while it is made."""

    def __init__(self) -> None:
        os._exit(5)


@judge("file")
def file(path: str) -> int:
    """Writes its child's number to a file and hangs: so a test knows that it has begun."""
    Path(path).write_text(str(os.getpid()))
    while True:
        time.sleep(60)


@judge("once")
def once(path: str) -> str:
    """Hangs the first time, and leaves a mark; judges the second time."""
    if not Path(path).exists():
        Path(path).write_text(str(os.getpid()))
        time.sleep(600)
    return "judged"
