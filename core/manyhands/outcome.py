"""What becomes of a failed attempt: pure decisions, read by the worker and tested by value."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass

from manyhands.backoff import LADDER, rung
from manyhands.errors import (
    DecodeError,
    HandBack,
    RejectTask,
    RetryTask,
    StoreUnavailable,
    TooLarge,
    UnknownJob,
)
from manyhands.messages import Failure

#: Characters of a traceback that are kept; headers must fit one AMQP frame.
TRACEBACK_LIMIT = 8000
MESSAGE_LIMIT = 1000


@dataclass(frozen=True, slots=True)
class Retry:
    """Publish it again, to come back after ``delay`` seconds."""

    delay: float


@dataclass(frozen=True, slots=True)
class SetAside:
    """Publish it as a dead letter."""


@dataclass(frozen=True, slots=True)
class GiveBack:
    """Leave it to somebody else, after ``delay`` seconds; it counts as no attempt."""

    # the least rung and not at once: whatever the handler misses is rarely back within a millisecond
    delay: float = LADDER[0]


Fate = Retry | SetAside | GiveBack

#: What no later attempt can mend.
HOPELESS = (RejectTask, DecodeError, TooLarge, UnknownJob)
#: What is no fault of the message.
BLAMELESS = (HandBack, StoreUnavailable)

#: The codes under which a task is said to have failed.
CODES: dict[type[BaseException], str] = {
    RejectTask: "rejected",
    DecodeError: "undecodable",
    TooLarge: "too-large",
    TimeoutError: "time-limit",
}


def fate(error: BaseException, attempt: int, max_attempts: int, random: Callable[[], float]) -> Fate:
    """What becomes of a task whose ``attempt``-th try (1, 2, ...) raised ``error``."""
    if isinstance(error, BLAMELESS):
        return GiveBack(rung(1, lambda: 1.0, error.after if isinstance(error, HandBack) else None))
    if isinstance(error, HOPELESS) or attempt >= max_attempts:
        return SetAside()
    return Retry(rung(attempt, random, error.after if isinstance(error, RetryTask) else None))


def failure(error: BaseException) -> Failure:
    """The failure that is reported of an error: a stable code and the error's own words."""
    code = next((code for kind, code in CODES.items() if isinstance(error, kind)), "error")
    return Failure(code=code, message=f"{type(error).__name__}: {error}"[:MESSAGE_LIMIT])


def trace(error: BaseException) -> str:
    """The end of the error's traceback, where the cause stands."""
    return "".join(traceback.format_exception(error))[-TRACEBACK_LIMIT:]
