"""What the store is told of a job, as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from manyhands_producer.spool import Cut

State = Literal["open", "sealed", "cancelled", "ended"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """What a transaction adds to a job: suites that were cut, their ids, and where its source goes on.

    By its ``cursor`` one is known that went through although nobody was told.
    """

    cuts: Sequence[Cut]
    ids: Sequence[str] = ()
    cursor: Mapping[str, Any] | None = None
    state: State = "open"
    reason: str | None = None

    @property
    def tasks(self) -> int:
        """How many tasks."""
        return sum(c.count for c in self.cuts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far the publishing of a job is known to be confirmed; ``closed``: the state that its last event told of.

    It says nothing of a job that was asked to be published once more than ``anew`` times.
    """

    number: int
    anew: int
    published: int
    announced: bool
    closed: State | None
