"""Dead letters, filed in the store: taken in, listed, replayed, dropped."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import sqlalchemy as sa

from manyhands import tracing
from manyhands.broker import Delivery, Outgoing
from manyhands.codec import addressed, decode, encode
from manyhands.deadletters import Cause, read_cause
from manyhands.errors import DecodeError, ManyhandsError
from manyhands.messages import JOB_ID, Event, Failure, Judgments, Suite
from manyhands.topology import Names
from manyhands_aggregator import tables
from manyhands_aggregator.senders import ANYBODY, Senders

_dead = tables.dead

#: Whatever was on the wire can be shown and replayed, whatever limit the installation has.
LIMIT = 1 << 27


class NoSuchLetter(ManyhandsError):
    """There is no such dead letter."""


def file(
    connection: sa.Connection, letters: Sequence[Delivery], now: float, senders: Senders = ANYBODY
) -> tuple[Counter[tuple[str, str]], list[Judgments]]:
    """File dead letters; how many of each kind and code, and the failures that follow from some of them.

    A worker that sets tasks aside says so in its judgments, and what is judged again will be answered: such letters are
    told. Of a suite that no worker lived to answer, could read or was sent, and of judgments that could not be taken
    in, only the letter tells; nothing follows from one that is not vouched for.
    """
    rows: dict[str, dict[str, Any]] = {}
    filed: Counter[tuple[str, str]] = Counter()
    failures: list[Judgments] = []
    for letter in letters:
        cause = read_cause(letter, now)
        message = _message(letter)
        row = _row(letter, cause, message)
        rows[row["id"]] = row
        filed[row["kind"], row["code"]] += 1
        if (
            isinstance(message, (Suite, Judgments))
            and JOB_ID.fullmatch(message.job)
            and not cause.told
            and senders.vouched(message, letter)
        ):
            failures.append(_failed(message, cause))
    if rows:
        insert = tables.insert(connection, _dead)
        again = {"times": _dead.c.times + 1, "at": insert.excluded["at"], "cause": insert.excluded["cause"]}
        connection.execute(
            insert.on_conflict_do_update(index_elements=["id"], set_=again), [rows[key] for key in sorted(rows)]
        )
    return filed, failures


def _message(letter: Delivery) -> Suite | Judgments | Event | None:
    try:
        return decode(letter.body, letter.type, letter.content_encoding, limit=LIMIT)
    except DecodeError:
        return addressed(letter.body, letter.type, letter.content_encoding, limit=LIMIT)


def _row(letter: Delivery, cause: Cause, message: Suite | Judgments | Event | None) -> dict[str, Any]:
    kind = letter.queue.rpartition(".")[2]  # the last part of the queue's name
    parts = (letter.queue, letter.key, cause.code, letter.type or "", letter.content_encoding or "")
    digest = hashlib.sha256("\0".join(parts).encode("utf-8", "replace") + b"\0" + letter.body)
    return {
        "id": digest.hexdigest()[:16],
        "kind": "tasks" if kind == "unrouted" else kind,  # what no judge's queue took
        "key": _clean(letter.key),
        "job": message.job if message and JOB_ID.fullmatch(message.job) else None,
        "code": _clean(cause.code)[:100],
        "error": _clean(cause.error),
        "at": cause.at,
        "cause": json.dumps(asdict(cause)),
        "tasks": len(message.positions) if isinstance(message, (Suite, Judgments)) else 0,
        "type": letter.type and _clean(letter.type),
        "encoding": letter.content_encoding and _clean(letter.content_encoding),
        "body": letter.body,
    }


def _clean(text: str) -> str:
    """Text as every store takes it."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def _failed(message: Suite | Judgments, cause: Cause) -> Judgments:
    failure = Failure(code=_clean(cause.code)[:100], message=_clean(cause.error))
    return Judgments(
        job=message.job, suite=message.suite, stage=message.stage, judge=message.judge, slot=message.slot, worker="",
        positions=message.positions, values=[None] * len(message.positions), attempt=message.attempt,
        errors=dict.fromkeys(message.positions, failure),
    )  # fmt: skip


def listing(
    connection: sa.Connection, *, job: str | None = None, code: str | None = None, limit: int = 100
) -> list[dict[str, Any]]:
    """Dead letters, the newest first, without their bodies."""
    keys = ("id", "times", "kind", "key", "job", "code", "error", "at", "tasks", "type")
    query = _where(sa.select(*(_dead.c[key] for key in keys)), job, code)
    query = query.order_by(_dead.c.at.desc(), _dead.c.id).limit(limit)
    return [dict(row._mapping) for row in connection.execute(query)]


def groups(connection: sa.Connection, *, job: str | None = None) -> list[dict[str, Any]]:
    """How many letters and tasks of each kind and code."""
    query = sa.select(
        _dead.c.kind, _dead.c.code, sa.func.count().label("letters"), sa.func.sum(_dead.c.tasks).label("tasks")
    ).group_by(_dead.c.kind, _dead.c.code)
    return [
        dict(row._mapping) for row in connection.execute(_where(query, job, None).order_by(_dead.c.kind, _dead.c.code))
    ]


def ids(
    connection: sa.Connection, *, job: str | None, code: str | None, before: float, after: str, limit: int
) -> list[str]:
    """Ids of letters set aside ``before`` a time, a page of them behind the id ``after``."""
    query = _where(sa.select(_dead.c.id), job, code).where(_dead.c.at <= before, _dead.c.id > after)
    return list(connection.scalars(query.order_by(_dead.c.id).limit(limit)))


def show(connection: sa.Connection, letter: str) -> dict[str, Any]:
    """One dead letter whole: its cause, and its tasks as far as they can be read.

    Raises:
        NoSuchLetter: there is none of this id.
    """
    row = _get(connection, letter)
    shown: dict[str, Any] = {key: getattr(row, key) for key in ("id", "times", "kind", "key", "job", "type", "tasks")}
    shown |= json.loads(row.cause)
    try:
        message = decode(row.body, row.type, row.encoding, limit=LIMIT)
        shown["message"] = _plain(asdict(message))
    except DecodeError:
        shown["message"] = {"undecodable": _plain(row.body)}
    return shown


def outgoing(connection: sa.Connection, names: Names, letter: str) -> tuple[Outgoing, int]:
    """The message that replays a letter, as it was, with its attempts counted anew; and how often the letter came.

    Raises:
        NoSuchLetter: there is none of this id.
    """
    row = _get(connection, letter)
    body, encoding = row.body, row.encoding
    try:
        message = decode(row.body, row.type, row.encoding, limit=LIMIT)
    except DecodeError:
        message = None
    if isinstance(message, Suite):
        encoded = encode(replace(message, attempt=1, expires_at=None), limit=LIMIT)
        body, encoding = encoded.body, encoded.content_encoding
        exchange, key = names.to_judge(message.judge)
    elif isinstance(message, Judgments):
        exchange, key = names.to_aggregator(message.job, message.suite)
    elif isinstance(message, Event):
        exchange, key = names.to_roles(message.name)
    else:
        exchange, key = names.exchange(row.kind), row.key.partition(".")[2] or row.key
    headers = tracing.carried(json.loads(row.cause))  # a replay goes on in the trace of what failed
    message_out = Outgoing(
        exchange=exchange, key=key, body=body, type=row.type or "", content_encoding=encoding, headers=headers
    )
    return message_out, row.times


def drop(connection: sa.Connection, letters: Sequence[str]) -> int:
    """Remove letters; says how many there were."""
    return sum(connection.execute(sa.delete(_dead).where(_dead.c.id == letter)).rowcount for letter in sorted(letters))


def drop_replayed(connection: sa.Connection, replayed: Mapping[str, int]) -> None:
    """Remove letters, but those that have come more often than that: they have failed again meanwhile."""
    for letter, times in sorted(replayed.items()):
        connection.execute(sa.delete(_dead).where(_dead.c.id == letter, _dead.c.times <= times))


def _where(query: sa.Select[Any], job: str | None, code: str | None) -> sa.Select[Any]:
    if job is not None:
        query = query.where(_dead.c.job == job)
    return query if code is None else query.where(_dead.c.code == code)


def _get(connection: sa.Connection, letter: str) -> sa.Row[Any]:
    row = connection.execute(sa.select(_dead).where(_dead.c.id == letter)).one_or_none()
    if row is None:
        raise NoSuchLetter(f"{letter!r}; `manyhands dead list` shows them")
    return row


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
