"""Exit codes, and errors as one sentence."""

from __future__ import annotations

import enum

from manyhands import errors
from manyhands_cli.errors import NotThere, PartFailed, ServiceAway


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
    Exit.SHORT: "The job ended partial or cancelled, or a plan says that it would stop or a judge fails; the audit or "
    "the check found something, a letter was not sent, or a bundle is not what it was.",
    Exit.USAGE: "The command line is not right.",
    Exit.INPUT: "The job file, the source, the handlers or the settings are not right, or a service said no.",
    Exit.AWAY: "A service, the broker or the store cannot be reached.",
    Exit.UNKNOWN: "There is no such job or dead letter.",
    Exit.SYSTEM: "The machine refused: no space, no permission.",
    Exit.INTERRUPTED: "Ctrl-C or SIGTERM; the same `run` goes on where it stopped.",
}

_CODES: tuple[tuple[type[Exception], Exit], ...] = (
    (errors.UnknownJob, Exit.UNKNOWN),
    (NotThere, Exit.UNKNOWN),
    (errors.BrokerError, Exit.AWAY),
    (errors.StoreUnavailable, Exit.AWAY),
    (ServiceAway, Exit.AWAY),
    (PartFailed, Exit.AWAY),
    (errors.ManyhandsError, Exit.INPUT),
    (OSError, Exit.SYSTEM),
)

#: What SQLite and PostgreSQL say where only the machine's owner can help.
_MACHINE = ("full", "disk i/o", "no space", "read-only", "readonly", "permission")


def code_of(error: Exception) -> Exit | None:
    """The exit code of an error that is said in one sentence; None for a bug, which deserves its traceback."""
    if isinstance(error, errors.StoreUnavailable) and refused_by_machine(str(error)):
        return Exit.SYSTEM
    return next((code for kind, code in _CODES if isinstance(error, kind)), None)


def refused_by_machine(said: str) -> bool:
    """Whether what a store says is that the disk is full or may not be written, which no waiting mends."""
    return any(word in said.lower() for word in _MACHINE)


def sentence(error: Exception) -> str:
    """What is said of an error."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error)
