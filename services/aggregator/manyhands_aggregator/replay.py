"""Dead letters as the messages they were, to be sent again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

import sqlalchemy as sa

from manyhands import replays, tracing
from manyhands.broker import Outgoing
from manyhands.codec import decode, encode
from manyhands.errors import DecodeError, Unroutable
from manyhands.messages import Event, Judgments, Suite
from manyhands.topology import EVENTS, JUDGE_NAME, Names
from manyhands_aggregator import deadlist, tables
from manyhands_aggregator.deadfiles import LIMIT

_dead = tables.dead


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """Which versions of the handler may judge what is replayed: any; one that it did not fail with; or one only."""

    changed: bool = False
    only: str = ""


ANY = Versions()


def outgoing(
    connection: sa.Connection, names: Names, letter: str, now: float, versions: Versions = ANY
) -> tuple[Outgoing, int] | None:
    """The message that replays a letter, as it was, with its attempts counted anew; and how often the letter came.

    None where there is no such letter.

    Raises:
        Unroutable: there is no place where it could go.
    """
    row = deadlist.get(connection, letter)
    if row is None:
        return None
    cause = json.loads(row.cause)
    body, encoding = row.body, row.encoding
    headers = {
        key: said for key, said in tracing.carried(cause).items() if said
    }  # a replay goes on in the trace of what failed
    try:
        message = decode(row.body, row.type, row.encoding, limit=LIMIT)
    except DecodeError:
        message = None
    if isinstance(message, Suite):
        encoded = encode(replace(message, attempt=1, expires_at=None), limit=LIMIT)
        body, encoding = encoded.body, encoded.content_encoding
        exchange, key = names.to_judge(message.judge)
        headers |= replays.headers(now, unless=cause["version"] if versions.changed else "", only=versions.only)
    elif isinstance(message, Judgments):
        exchange, key = names.to_aggregator(message.job, message.suite)
    elif isinstance(message, Event):
        exchange, key = names.to_roles(message.name)
    else:
        exchange, key = names.exchange(row.kind), row.key.partition(".")[2] or row.key
    if not _taken(names, exchange, key):
        raise Unroutable(f"{key[:100]!r} at {exchange!r} is for nobody")
    message_out = Outgoing(
        exchange=exchange, key=key, body=body, type=row.type or "", content_encoding=encoding, headers=headers
    )
    return message_out, row.times


def _taken(names: Names, exchange: str, key: str) -> bool:
    """Whether this may go to some queue. (If not it is not tried: a broker that knows users would end the channel.)"""
    if exchange == names.exchange("tasks"):
        return JUDGE_NAME.fullmatch(key) is not None
    if exchange == names.exchange("events"):
        return any(key in told for told in EVENTS.values())
    return key in map(str, range(names.partitions))


def drop(connection: sa.Connection, replayed: Mapping[str, int]) -> None:
    """Remove letters, but those that have come more often than that: they have failed again meanwhile."""
    for letter, times in sorted(replayed.items()):
        connection.execute(sa.delete(_dead).where(_dead.c.id == letter, _dead.c.times <= times))
