"""Dead letters, filed in the store as they come."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from manyhands.broker import Delivery
from manyhands.codec import addressed, decode
from manyhands.deadletters import Cause, read_cause
from manyhands.errors import DecodeError
from manyhands.messages import JOB_ID, Event, Failure, Judgments, Suite
from manyhands_aggregator import tables
from manyhands_aggregator.causes import cause_id
from manyhands_aggregator.senders import ANYBODY, Senders

_dead = tables.dead

#: Whatever was on the wire can be shown and replayed, whatever limit the installation has.
LIMIT = 1 << 27


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
        row = _row(letter, cause, message, now)
        rows[row["id"]] = {**row, "times": rows.get(row["id"], {"times": 0})["times"] + 1}
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
        said = ("at", "error", "cause", "cause_id", "version", "filed")  # what was said of it last
        again = {"times": _dead.c.times + insert.excluded["times"], **{name: insert.excluded[name] for name in said}}
        connection.execute(
            insert.on_conflict_do_update(index_elements=["id"], set_=again), [rows[key] for key in sorted(rows)]
        )
    return filed, failures


def _message(letter: Delivery) -> Suite | Judgments | Event | None:
    try:
        return decode(letter.body, letter.type, letter.content_encoding, limit=LIMIT)
    except DecodeError:
        return addressed(letter.body, letter.type, letter.content_encoding, limit=LIMIT)


def _row(letter: Delivery, cause: Cause, message: Suite | Judgments | Event | None, now: float) -> dict[str, Any]:
    kind = letter.queue.rpartition(".")[2]  # the last part of the queue's name
    parts = (letter.queue, letter.key, cause.code, letter.type or "", letter.content_encoding or "")
    digest = hashlib.sha256("\0".join(parts).encode("utf-8", "replace") + b"\0" + letter.body)
    kind = "tasks" if kind == "unrouted" else kind  # what no judge's queue took
    code, error = _clean(cause.code)[:100], _clean(cause.error)
    return {
        "id": digest.hexdigest()[:16],
        "kind": kind,
        "key": _clean(letter.key),
        "job": message.job if message and JOB_ID.fullmatch(message.job) else None,
        "code": code,
        "error": error,
        "at": cause.at,
        "cause": json.dumps(asdict(cause)),
        "tasks": len(message.positions) if isinstance(message, (Suite, Judgments)) else 0,
        "type": letter.type and _clean(letter.type),
        "encoding": letter.content_encoding and _clean(letter.content_encoding),
        "body": letter.body,
        "cause_id": cause_id(kind, code, error),
        "version": _clean(cause.version),
        "filed": now,
    }


def _clean(text: str) -> str:
    """Text as every store takes it; no longer than it came, for a replay must fit into what it came in."""
    return text.replace("\0", "?").encode("utf-8", "replace").decode()


def _failed(message: Suite | Judgments, cause: Cause) -> Judgments:
    failure = Failure(code=_clean(cause.code)[:100], message=_clean(cause.error))
    return Judgments(
        job=message.job, suite=message.suite, stage=message.stage, judge=message.judge, slot=message.slot, worker="",
        positions=message.positions, values=[None] * len(message.positions), attempt=message.attempt,
        errors=dict.fromkeys(message.positions, failure),
    )  # fmt: skip


def complete(connection: sa.Connection, now: float, limit: int) -> int:
    """Add to some letters that an earlier version has filed what it did not know of; how many there were."""
    query = sa.select(*(_dead.c[name] for name in ("id", "kind", "code", "error", "cause")))
    query = query.where(_dead.c.cause_id.is_(None)).order_by(_dead.c.id).limit(limit)
    rows = connection.execute(query).all()
    for row in rows:
        values = {"cause_id": cause_id(row.kind, row.code, row.error), "version": json.loads(row.cause)["version"]}
        connection.execute(sa.update(_dead).where(_dead.c.id == row.id).values(**values, filed=now))
    return len(rows)
