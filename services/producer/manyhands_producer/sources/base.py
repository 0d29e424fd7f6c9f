"""What every source is: a stream of rows with a cursor to go on from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from manyhands.messages import GOLD_ID

#: Where to go on reading: plain JSON values, each format's own.
Cursor = Mapping[str, Any]

BAD_ROW, TOO_LARGE, BUDGET = "bad-row", "too-large", "budget"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a row becomes no task that could be judged: ``bad-row``, ``too-large`` or ``budget``, and a sentence."""

    code: str
    message: str


@dataclass(slots=True, kw_only=True)
class Rows:
    """Consecutive rows, as columns of the same length.

    ``ids`` is None when the position is the id; else an entry is None only where a refused row's id is not known.
    ``truths`` is None when none is known. A row in ``refused`` (by its index here) has no payload. ``where`` names a
    row for a person, by its index. ``end`` says that nothing comes after.
    """

    payloads: list[Any]
    ids: list[str | None] | None = None
    truths: list[Any] | None = None
    refused: dict[int, Refusal] = field(default_factory=dict)
    where: Callable[[int], str] = "task {}".format
    end: bool = False

    def head(self, count: int) -> Rows:
        """The first rows of these."""
        return replace(
            self,
            payloads=self.payloads[:count],
            ids=None if self.ids is None else self.ids[:count],
            truths=None if self.truths is None else self.truths[:count],
            refused={index: refusal for index, refusal in self.refused.items() if index < count},
        )

    def pay(self, affordable: int | None, sent: int) -> None:
        """Refuse the rows that cannot be paid for: so many are ``affordable`` in all, so many were ``sent`` before."""
        if affordable is None:
            return
        for index in range(len(self.payloads)):
            if index in self.refused:
                continue
            if sent >= affordable:
                self.refused[index] = Refusal(BUDGET, f"the budget pays for {affordable:,} tasks")
            sent += 1

    def refuse_repeated(self, known: Iterable[str]) -> None:
        """Refuse the rows whose id is among those ``known`` from before, or comes a second time here."""
        seen = set(known)
        for index, own in enumerate(self.ids or ()):
            if own is None or own == GOLD_ID or index in self.refused:
                continue
            if own in seen:
                self.refused[index] = Refusal(BAD_ROW, f"{self.where(index)}: the id {own!r} was there before")
            seen.add(own)

    def own_ids(self) -> list[str]:
        """The ids of the tasks among them, where they have ids of their own."""
        return [own for index, own in enumerate(self.ids or ()) if own and own != GOLD_ID and index not in self.refused]

    def bad(self) -> int | None:
        """The first bad row, if there is one."""
        return min((index for index, refusal in self.refused.items() if refusal.code == BAD_ROW), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Which columns of a source mean what, as the job file says."""

    id: str | None = None
    input: str | list[str] | None = None
    truth: str | None = None

    def inputs(self, known: list[str]) -> str | list[str]:
        """The input columns: those named, or all of ``known`` but the id and the truth; one of them stands alone."""
        if self.input is not None:
            return self.input
        left = [name for name in known if name not in (self.id, self.truth)]
        return left[0] if len(left) == 1 else left

    def named(self) -> list[str]:
        """Every column that must be there."""
        inputs = [self.input] if isinstance(self.input, str) else self.input or []
        return [name for name in (self.id, *inputs, self.truth) if name is not None]


class Source(Protocol):
    """A source that is being read. Belongs to one thread."""

    @property
    def cursor(self) -> Cursor:
        """Where the next :meth:`read` goes on, also in another process."""

    def read(self, most: int, size: int) -> Rows:
        """The next rows: at most ``most``, and fewer when they have about ``size`` bytes.

        Raises:
            SourceError: the rest of the source can never be read.
            OSError: it cannot be read at this moment.
        """

    def close(self) -> None:
        """Let go of it."""


def id_of(value: object) -> str:
    """An item's own id as text.

    Raises:
        ValueError: it is no text and no whole number, is empty, or could not be stored.
    """
    if type(value) is int:
        return str(value)
    if type(value) is not str:
        raise ValueError(f"the id must be text or a whole number, not {json_name(value)}")
    if not value:
        raise ValueError("the id is empty")
    if len(value) > ID_LIMIT:
        raise ValueError(f"the id has {len(value):,} characters of at most {ID_LIMIT}")
    if "\0" in value:
        raise ValueError("the id has a NUL character")  # which PostgreSQL's text cannot hold
    return value


#: Characters an id may have: ids are keys of tables, and every one of a suite travels in one event.
ID_LIMIT = 500


def ids_of(values: list[Any]) -> list[str | None]:
    """A whole column of ids; :func:`id_of` for each, but quick when all is well.

    Raises:
        ValueError: as :func:`id_of` does, for some of them.
    """
    quick = set(map(type, values)) == {str} and "" not in values
    if quick and max(map(len, values)) <= ID_LIMIT and "\0" not in "".join(values):
        return values
    return [id_of(value) for value in values]


def json_name(value: object) -> str:
    """What a value is called in JSON."""
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
