"""Exit codes, and errors as one sentence."""

from __future__ import annotations

import enum

from manyhands import errors
from manyhands_cli.client import ServiceAway


class Exit(enum.IntEnum):
    """How a command ends; ``MEANING`` says it in words."""

    OK = 0
    SHORT = 1
    USAGE = 2
    INPUT = 3
    AWAY = 4
    UNKNOWN = 5
    SYSTEM = 6
    INTERRUPTED = 130


#: What each exit code means, for the documentation.
MEANING = {
    Exit.OK: "Done.",
    Exit.SHORT: "The job ended partial or cancelled, or the audit does not balance.",
    Exit.USAGE: "The command line is not right.",
    Exit.INPUT: "The job file, the source, the handlers or the settings are not right.",
    Exit.AWAY: "A service, the broker or the store cannot be reached.",
    Exit.UNKNOWN: "There is no such job or dead letter.",
    Exit.SYSTEM: "The machine refused: no space, no permission.",
    Exit.INTERRUPTED: "Ctrl-C; the same command goes on where it stopped.",
}

_CODES: tuple[tuple[type[Exception], Exit], ...] = (
    (errors.UnknownJob, Exit.UNKNOWN),
    (errors.BrokerError, Exit.AWAY),
    (errors.StoreUnavailable, Exit.AWAY),
    (ServiceAway, Exit.AWAY),
    (errors.ManyhandsError, Exit.INPUT),
    (OSError, Exit.SYSTEM),
)


def code_of(error: Exception) -> Exit | None:
    """The exit code of an error that is said in one sentence; None for a bug, which deserves its traceback."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), None)


def sentence(error: Exception) -> str:
    """What is said of an error."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error)
