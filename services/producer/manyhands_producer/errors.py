"""The producer's own errors; each tells its caller what to do."""

from __future__ import annotations

from manyhands.errors import ManyhandsError


class JobRefused(ManyhandsError):
    """The job does not take this."""


class SpoolFull(ManyhandsError):
    """The job has too many tasks waiting; push again when some have left."""


class Moved(Exception):
    """The job's row is not as it was expected: somebody else has cut, sealed, cancelled or ended it."""


class Unsure(Moved):
    """The same, and whether these suites are among those it has by now is not known: a commit was never answered."""


class Repeated(Exception):
    """Ids come again: ``known`` are those the job has had before, ``twice`` those that come more than once now."""

    def __init__(self, known: set[str], twice: set[str]) -> None:
        super().__init__(", ".join(sorted(known | twice)[:3]))
        self.known, self.twice = known, twice


class BodyTooLarge(ManyhandsError):
    """The request is too large."""
