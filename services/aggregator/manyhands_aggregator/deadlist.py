"""The dead letters on file: counted by cause, listed, shown, taken away."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from manyhands.codec import decode
from manyhands.errors import DecodeError, ManyhandsError
from manyhands_aggregator import tables
from manyhands_aggregator.causes import shape
from manyhands_aggregator.deadfiles import LIMIT

_dead = tables.dead

#: Causes that are told at once, at most: those with the most letters.
CAUSES = 1000
#: When a letter was filed. The time at which it was set aside is what its sender says.
_filed = sa.func.coalesce(_dead.c.filed, 0.0)
#: Columns of a letter in a list.
_LISTED = ("id", "times", "kind", "key", "job", "code", "cause_id", "error", "version", "at", "tasks", "type")


class NoSuchLetter(ManyhandsError):
    """There is no such dead letter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Which:
    """Which letters: of a job, a code, a cause; filed up to a time, in seconds since 1970. All by default."""

    job: str | None = None
    code: str | None = None
    cause: str | None = None
    until: float | None = None

    def of(self, query: sa.Select[Any]) -> sa.Select[Any]:
        """A query for these letters only."""
        for column, value in ((_dead.c.job, self.job), (_dead.c.code, self.code), (_dead.c.cause_id, self.cause)):
            if value is not None:
                query = query.where(column == value)
        return query if self.until is None else query.where(_filed <= self.until)


ALL = Which()


def listing(connection: sa.Connection, which: Which = ALL, *, limit: int = 100) -> list[dict[str, Any]]:
    """Dead letters, the newest first, without their bodies."""
    query = which.of(sa.select(*(_dead.c[key] for key in _LISTED)))
    rows = connection.execute(query.order_by(_dead.c.at.desc(), _dead.c.id).limit(limit))
    return [{("cause" if key == "cause_id" else key): said for key, said in row._mapping.items()} for row in rows]


def groups(connection: sa.Connection, which: Which = ALL) -> list[dict[str, Any]]:
    """The causes, those with the most letters first: letters, tasks and jobs, first and last time, versions,
    and the id of one of them.

    Letters have one cause that are of one kind and code and whose errors differ in numbers, ids and quoted text only.
    """
    letters = sa.func.count().label("letters")
    columns = (
        _dead.c.cause_id, _dead.c.kind, _dead.c.code, sa.func.min(_dead.c.error).label("error"), letters,
        sa.func.sum(_dead.c.tasks).label("tasks"), sa.func.count(_dead.c.job.distinct()).label("jobs"),
        sa.func.min(_dead.c.at).label("first"), sa.func.max(_dead.c.at).label("last"),
        sa.func.max(_filed).label("filed"),
        sa.func.min(_dead.c.id).label("example"),
    )  # fmt: skip
    query = which.of(sa.select(*columns)).group_by(_dead.c.cause_id, _dead.c.kind, _dead.c.code)
    query = query.order_by(letters.desc(), _dead.c.kind, _dead.c.code, _dead.c.cause_id).limit(CAUSES)
    versions: dict[str | None, list[str]] = {}
    told = which.of(sa.select(_dead.c.cause_id, _dead.c.version).where(_dead.c.version != "").distinct())
    for cause, version in connection.execute(told.order_by(_dead.c.version)):
        versions.setdefault(cause, []).append(version)
    return [
        {
            "cause": row.cause_id, "kind": row.kind, "code": row.code, "error": shape(row.error),
            "letters": row.letters, "tasks": int(row.tasks), "jobs": row.jobs, "first": row.first, "last": row.last,
            "filed": row.filed, "example": row.example,
            "versions": versions.get(row.cause_id, []),
        }
        for row in connection.execute(query)
    ]  # fmt: skip


def newest(connection: sa.Connection, which: Which) -> float | None:
    """When the newest of these letters was filed; None where there is none."""
    filed: float | None = connection.scalar(which.of(sa.select(sa.func.max(_filed))))
    return filed


def ids(connection: sa.Connection, which: Which, *, after: str, limit: int) -> list[str]:
    """Ids of these letters, a page of them behind the id ``after``."""
    query = which.of(sa.select(_dead.c.id)).where(_dead.c.id > after)
    return list(connection.scalars(query.order_by(_dead.c.id).limit(limit)))


def get(connection: sa.Connection, letter: str) -> sa.Row[Any] | None:
    """The row of a letter, or None."""
    return connection.execute(sa.select(_dead).where(_dead.c.id == letter)).one_or_none()


def show(connection: sa.Connection, letter: str) -> dict[str, Any]:
    """One dead letter whole: its cause, and its tasks as far as they can be read.

    Raises:
        NoSuchLetter: there is none of this id.
    """
    row = get(connection, letter)
    if row is None:
        raise no_such(letter)
    shown: dict[str, Any] = {key: getattr(row, key) for key in ("id", "times", "kind", "key", "job", "type", "tasks")}
    shown |= {"cause": row.cause_id, **json.loads(row.cause)}
    try:
        message = decode(row.body, row.type, row.encoding, limit=LIMIT)
        shown["message"] = _plain(asdict(message))
    except DecodeError:
        shown["message"] = {"undecodable": _plain(row.body)}
    return shown


def no_such(letter: str) -> NoSuchLetter:
    """The error for an id that no letter has."""
    return NoSuchLetter(f"{letter!r}; `manyhands dead list` shows them")


def drop(connection: sa.Connection, letters: Sequence[str]) -> int:
    """Remove letters; says how many there were."""
    return sum(connection.execute(sa.delete(_dead).where(_dead.c.id == letter)).rowcount for letter in sorted(letters))


def old(connection: sa.Connection, until: float, limit: int) -> dict[str, str]:
    """Ids of some letters that were filed before a time, the oldest first, and the kind of each."""
    query = sa.select(_dead.c.id, _dead.c.kind).where(_dead.c.filed < until).order_by(_dead.c.filed).limit(limit)
    return {row.id: row.kind for row in connection.execute(query)}


def expire(connection: sa.Connection, letters: Iterable[str], until: float) -> set[str]:
    """Remove these letters but those that have come again since; which were removed by this call.

    Of replicas that do the same at once only one has removed a letter.
    """
    return {
        letter
        for letter in sorted(letters)
        if connection.execute(sa.delete(_dead).where(_dead.c.id == letter, _dead.c.filed < until)).rowcount
    }


def there(connection: sa.Connection, letters: Iterable[str]) -> set[str]:
    """Which of these letters are on file."""
    return set(connection.scalars(sa.select(_dead.c.id).where(_dead.c.id.in_(list(letters)))))


def _plain(value: Any) -> Any:
    """For JSON: bytes as text where they are text, else as hexadecimal digits, both cut."""
    if isinstance(value, bytes):
        try:
            return value.decode()[:2000]
        except UnicodeDecodeError:
            return "0x" + value[:1000].hex()
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value
