"""Errors of talking to a running service."""

from __future__ import annotations

from manyhands.errors import ManyhandsError


class ServiceAway(ManyhandsError):
    """The service cannot be reached."""


class RequestRefused(ManyhandsError):
    """The service refused the request."""


class NotThere(ManyhandsError):
    """The service knows nothing of this name."""

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail)
        if detail:
            self.args = (detail,)  # the service's own sentence says which kind of thing is not there


class FolderTaken(ManyhandsError):
    """Another run is at work in this output folder; wait for it, or choose another with --out."""


class PartFailed(ManyhandsError):
    """A process of this run does not stay alive."""


class FolderRefused(ManyhandsError):
    """A bundle is not written over what is no bundle; name another folder."""


class StillOpen(ManyhandsError):
    """A bundle is of a job that has ended; `manyhands watch JOB` waits for that."""


class Unsteady(ManyhandsError):
    """The answers changed again and again while they were read; try again when nothing is replayed."""
