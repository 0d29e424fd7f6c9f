"""Dead letters, filed in the store: taken in, listed, replayed, dropped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from manyhands import metrics
from manyhands.broker import Delivery, Outgoing
from manyhands.codec import decode, encode
from manyhands.deadletters import Cause, read_cause
from manyhands.errors import DecodeError, ManyhandsError
from manyhands.messages import Event, Failure, Judgments, Suite
from manyhands.topology import Names
from manyhands_aggregator import tables

_dead = tables.dead


class NoSuchLetter(ManyhandsError):
    """There is no such dead letter."""


def file(connection: sa.Connection, letters: Sequence[Delivery], now: float) -> list[Judgments]:
    """File dead letters. Returns the failures that follow from those that the broker set aside by itself.

    A worker that sets tasks aside says so in its judgments; of a suite that no worker lived to answer, or that no queue
    takes, only the letter tells.
    """
    rows: list[dict[str, Any]] = []
    failures: list[Judgments] = []
    for letter in letters:
        cause = read_cause(letter, now)
        kind = _kind(letter)
        message = _message(letter)
        rows.append(_row(letter, cause, kind, message))
        metrics.DEAD_LETTERS.labels(kind, cause.code).inc()
        if isinstance(message, Suite) and "mh-code" not in letter.headers:
            failures.append(_failed(message, cause, now))
    tables.insert_new(connection, _dead, rows)
    return failures


def _kind(letter: Delivery) -> str:
    """Tasks, judgments or events: the last part of the queue's name; what no judge's queue took is tasks."""
    kind = letter.queue.rpartition(".")[2]
    return "tasks" if kind == "unrouted" else kind


def _message(letter: Delivery) -> Suite | Judgments | Event | None:
    try:
        return decode(letter.body, letter.type, letter.content_encoding)
    except DecodeError:
        return None


def _row(letter: Delivery, cause: Cause, kind: str, message: Suite | Judgments | Event | None) -> dict[str, Any]:
    digest = hashlib.sha256(b"\0".join((letter.queue.encode(), letter.key.encode(), repr(cause).encode(), letter.body)))
    if "mh-code" not in letter.headers:  # the broker's own letters bear no time; their body alone tells them apart
        digest = hashlib.sha256(b"\0".join((letter.queue.encode(), letter.key.encode(), letter.body)))
    return {
        "id": digest.hexdigest()[:16], "kind": kind, "key": letter.key, "job": message.job if message else None,
        "code": cause.code, "error": cause.error, "at": cause.at, "cause": json.dumps(asdict(cause)),
        "tasks": len(message.positions) if isinstance(message, (Suite, Judgments)) else 0,
        "type": letter.type, "encoding": letter.content_encoding, "body": letter.body,
    }  # fmt: skip


def _failed(suite: Suite, cause: Cause, now: float) -> Judgments:
    failure = Failure(code=cause.code, message=cause.error)
    return Judgments(
        job=suite.job, suite=suite.suite, stage=suite.stage, judge=suite.judge, slot=suite.slot, worker="",
        positions=suite.positions, values=[None] * len(suite.positions), started=now, finished=now,
        attempt=suite.attempt, errors=dict.fromkeys(suite.positions, failure),
    )  # fmt: skip


def listing(
    connection: sa.Connection, *, job: str | None = None, code: str | None = None, limit: int = 100
) -> list[dict[str, Any]]:
    """Dead letters, the newest first, without their bodies."""
    keys = ("id", "kind", "key", "job", "code", "error", "at", "tasks", "type")
    query = _where(sa.select(*(_dead.c[key] for key in keys)), job, code).order_by(_dead.c.at.desc()).limit(limit)
    return [dict(row._mapping) for row in connection.execute(query)]


def groups(connection: sa.Connection, *, job: str | None = None) -> list[dict[str, Any]]:
    """How many letters and tasks of each kind and code."""
    query = sa.select(
        _dead.c.kind, _dead.c.code, sa.func.count().label("letters"), sa.func.sum(_dead.c.tasks).label("tasks")
    ).group_by(_dead.c.kind, _dead.c.code)
    return [dict(row._mapping) for row in connection.execute(_where(query, job, None))]


def show(connection: sa.Connection, letter: str) -> dict[str, Any]:
    """One dead letter whole: its cause, and its tasks as far as they can be read.

    Raises:
        NoSuchLetter: there is none of this id.
    """
    row = _get(connection, letter)
    shown: dict[str, Any] = {key: getattr(row, key) for key in ("id", "kind", "key", "job", "type", "tasks")}
    shown |= json.loads(row.cause)
    try:
        message = decode(row.body, row.type, row.encoding)
        shown["message"] = _plain(asdict(message))
    except DecodeError:
        shown["message"] = {"undecodable": _plain(row.body)}
    return shown


def outgoing(connection: sa.Connection, names: Names, letter: str) -> Outgoing:
    """The message that replays a letter: as it was, with its attempts counted anew.

    Raises:
        NoSuchLetter: there is none of this id.
    """
    row = _get(connection, letter)
    body, encoding = row.body, row.encoding
    try:
        message = decode(row.body, row.type, row.encoding)
    except DecodeError:
        message = None
    if isinstance(message, Suite):
        encoded = encode(Suite(**{**_fields(message), "attempt": 1, "expires_at": None}))
        body, encoding = encoded.body, encoded.content_encoding
        exchange, key = names.to_judge(message.judge)
    elif isinstance(message, Judgments):
        exchange, key = names.to_aggregator(message.job, message.suite)
    elif isinstance(message, Event):
        exchange, key = names.to_roles(message.name)
    else:
        exchange, key = names.exchange(row.kind), row.key.partition(".")[2] or row.key
    return Outgoing(exchange=exchange, key=key, body=body, type=row.type or "", content_encoding=encoding)


def drop(connection: sa.Connection, letters: Sequence[str]) -> int:
    """Remove letters; says how many there were."""
    return connection.execute(sa.delete(_dead).where(_dead.c.id.in_(letters))).rowcount


def _where(query: sa.Select[Any], job: str | None, code: str | None) -> sa.Select[Any]:
    if job is not None:
        query = query.where(_dead.c.job == job)
    return query if code is None else query.where(_dead.c.code == code)


def _get(connection: sa.Connection, letter: str) -> sa.Row[Any]:
    row = connection.execute(sa.select(_dead).where(_dead.c.id == letter)).one_or_none()
    if row is None:
        raise NoSuchLetter(f"{letter!r}; `manyhands dead list` shows them")
    return row


def _fields(suite: Suite) -> dict[str, Any]:
    return {name: getattr(suite, name) for name in Suite.__dataclass_fields__}


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
