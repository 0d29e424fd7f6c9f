"""Hostile messages without end, from a seed: torn, mutated, nested, oversized, bombs, wrong types, forged ids, headers.

All of them speak of a job that nobody opened, so that none can be taken for a message of a job that runs.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgpack
import zstandard

from manyhands.codec import BODY_LIMIT, EVENT, GROWTH_LIMIT, JUDGMENTS, SUITE, decode, encode
from manyhands.errors import DecodeError
from manyhands.messages import Event, Failure, Judgments, Message, Suite
from manyhands.topology import Names
from tests.fault.garbage import FORGED

#: Bodies that are large, or unpack to much, among a thousand.
LARGE = 4
#: One in so many is for the suspects, and half of the large ones: they are tried one by one, which takes its time.
SUSPECTS = 33
TYPES = (SUITE, JUDGMENTS, EVENT)
#: Keys with little room left for anything before them, and one that is two lines.
LONG: Sequence[str] = ("x" * 250, "x" * 255, "\u00e9" * 127, "a." * 127, "\0" * 255, "x\ny" * 80)
#: What may stand where something else should.
ODD: Sequence[Any] = (
    None, True, -1, 0, 1.5, math.nan, math.inf, 1 << 53, (1 << 64) - 1, "", "\0", "x" * 5000, b"\xff", [], [[]], {},
    {"a": 1}, [None], [-1], [0, 0], ["0"], [1 << 60], list(range(100)), [[[[[]]]]], {0: {0: {0: 0}}},
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Hostile:
    """A message: the queue it is for (tasks, suspects, judgments, events, dead), its route, and all that it bears."""

    queue: str
    route: tuple[str, str]
    body: bytes
    type: str | bytes | None
    encoding: str | bytes | None = None
    headers: Mapping[str, Any] = field(default_factory=dict)

    @property
    def told(self) -> bool:
        """Whether it is a message after all, one that this queue is for."""
        try:
            found = decode(self.body, str(self.type), str(self.encoding) if self.encoding else None)
        except DecodeError:
            return False
        wanted: dict[str, type[Message]] = {
            "tasks": Suite, "suspects": Suite, "judgments": Judgments, "events": Event,
        }  # fmt: skip
        return isinstance(found, wanted.get(self.queue, ()))


def hostile(names: Names, judge: str, seed: int, count: int) -> Iterator[Hostile]:
    """So many messages, for every queue there is."""
    chance = random.Random(seed)
    for number in range(count):
        queue, route = chance.choice(_routes(names, judge, chance))
        large = number % 1000 < LARGE
        if number % SUSPECTS == 0 or (large and number // 1000 % 2):
            queue, route = "suspects", names.to_suspects(judge)
        whole = _whole(chance, judge)
        encoded = encode(whole)
        made = Hostile(
            queue=queue, route=route, body=encoded.body, type=encoded.type, encoding=encoded.content_encoding
        )
        made = _BOMBS[number % 4](made, chance) if large else chance.choice(_WAYS)(made, chance)
        yield _long_key(_with_headers(made, chance), chance)


def _routes(names: Names, judge: str, chance: random.Random) -> list[tuple[str, tuple[str, str]]]:
    partition = str(chance.randrange(names.partitions))
    events = ("job.opened", "suites.opened", "job.sealed", "job.cancelled", "suites.settled", "suite.escalated")
    return [
        ("tasks", names.to_judge(judge)),
        ("tasks", names.to_retry(judge, 1.0)),
        ("judgments", (names.exchange("judgments"), partition)),
        ("events", names.to_roles(chance.choice((*events, "job.completed")))),
        ("dead", names.to_dead(chance.choice(("tasks", "judgments", "events")), chance.choice((judge, "x.y", "\0")))),
        ("dead", (names.exchange("unrouted"), chance.choice(("nobody", judge, "", *LONG)))),
    ]


def _whole(chance: random.Random, judge: str) -> Suite | Judgments | Event:
    """What would be a message, of the forged job."""
    suite, positions = chance.randrange(1 << 40), sorted(chance.sample(range(1 << 30), chance.randint(1, 5)))
    about: dict[str, Any] = {"job": FORGED, "suite": suite, "stage": 0, "judge": judge, "slot": 0}
    odd = [chance.choice(ODD) if chance.random() < 0.2 else chance.randrange(100) for _ in positions]
    kind = chance.randrange(3)
    if kind == 0:
        return Suite(**about, positions=positions, payloads=odd)
    if kind == 1:
        errors = {positions[0]: Failure(code="c", message="m")} if chance.random() < 0.3 else {}
        return Judgments(**about, worker="forger", positions=positions, values=odd, errors=errors)
    name = chance.choice(("job.opened", "suites.opened", "suites.settled", "suite.escalated", "job.exploded"))
    return Event(name=name, job=FORGED, data={"suites": positions, "firsts": odd, "spec": {"name": 1}})


# -- ways to be hostile ------------------------------------------------------------------------------------------------


def _columns(one: Hostile) -> dict[Any, Any]:
    raw = zstandard.decompress(one.body) if one.encoding else one.body
    columns: dict[Any, Any] = msgpack.unpackb(raw, strict_map_key=False)
    return columns


def _mutated(one: Hostile, chance: random.Random) -> Hostile:
    """Some bytes are others, or are not there, or are there twice."""
    body = bytearray(one.body)
    for _ in range(chance.choice((1, 1, 2, 5, 20))):
        at = chance.randrange(len(body) + 1)
        how = chance.randrange(4)
        if how == 0 and at < len(body):
            body[at] ^= 1 << chance.randrange(8)
        elif how == 1:
            del body[at : at + chance.randint(1, 4)]
        elif how == 2:
            body[at:at] = chance.randbytes(chance.randint(1, 4))
        else:
            body[at:at] = body[at : at + chance.randint(1, 30)]
    return replace(one, body=bytes(body))


def _torn(one: Hostile, chance: random.Random) -> Hostile:
    return replace(one, body=one.body[: chance.randrange(len(one.body))])


def _noise(one: Hostile, chance: random.Random) -> Hostile:
    return replace(one, body=chance.randbytes(chance.choice((0, 1, 10, 100, 1000))))


def _nested(one: Hostile, chance: random.Random) -> Hostile:
    """Lists or maps within each other, alone or as a payload."""
    step = chance.choice((b"\x91", b"\x81\x01", b"\x81\x91", b"\xdd\x00\x00\x00\x01"))
    return replace(one, body=b"\x81\xa1a" + step * chance.choice((10, 500, 1020, 1100, 5000)) + b"\xc0")


def _odd_column(one: Hostile, chance: random.Random) -> Hostile:
    """A column is something else, or not there, or one that nobody knows."""
    columns = _columns(one)
    name = chance.choice([*columns, "unknown"])
    if chance.random() < 0.3:
        columns.pop(name, None)
    else:
        columns[name] = chance.choice(ODD)
    return replace(one, body=msgpack.packb(columns), encoding=None)


def _odd_type(one: Hostile, chance: random.Random) -> Hostile:
    odd = (None, "", "suite.v2", "job.v1", b"\xff\xfe", "x" * 255, *TYPES)
    return replace(one, type=chance.choice([t for t in odd if t != one.type]))


def _odd_encoding(one: Hostile, chance: random.Random) -> Hostile:
    return replace(one, encoding=chance.choice(("zstd", "gzip", b"\xff", "zstd2", "x" * 255)))


def _odd_frame(one: Hostile, chance: random.Random) -> Hostile:
    """A frame that is torn, is followed by another, or says nothing of its size."""
    frame = zstandard.compress(one.body)
    sizeless = zstandard.ZstdCompressor(write_content_size=False).compress(one.body)
    return replace(one, body=chance.choice((frame[:-2], frame + frame, sizeless, frame + b"x")), encoding="zstd")


def _forged_id(one: Hostile, chance: random.Random) -> Hostile:
    columns = _columns(one)
    columns["job"] = chance.choice(("../../etc", "\0", "x" * 1000, "", "a/b", FORGED + "\n", "\U0001f600"))
    return replace(one, body=msgpack.packb(columns), encoding=None)


def _as_it_is(one: Hostile, _: random.Random) -> Hostile:
    """In a queue where it has no place, or about a job that is none."""
    return one


def _zeros(one: Hostile, _: random.Random) -> Hostile:
    return replace(one, body=zstandard.compress(bytes(BODY_LIMIT * GROWTH_LIMIT + 1)), encoding="zstd")


def _values(one: Hostile, chance: random.Random) -> Hostile:
    value = chance.choice((b"\x90", b"\x81\x01\xc0", b"\xa2ab"))
    count = BODY_LIMIT * GROWTH_LIMIT // len(value) - 10
    raw = b"\x81\xa1a\xdd" + count.to_bytes(4) + value * count
    return replace(one, body=zstandard.compress(raw), encoding="zstd")


def _oversized(one: Hostile, chance: random.Random) -> Hostile:
    return replace(one, body=one.body + chance.randbytes(BODY_LIMIT))


def _lengths(one: Hostile, _: random.Random) -> Hostile:
    raw = b"\x81\xa1a" + (b"\xdd" + BODY_LIMIT.to_bytes(4)) * 1000 + bytes(BODY_LIMIT)
    return replace(one, body=zstandard.compress(raw), encoding="zstd")


Way = Callable[[Hostile, random.Random], Hostile]
_WAYS: Sequence[Way] = (
    _mutated, _mutated, _mutated, _torn, _noise, _nested, _odd_column, _odd_column, _odd_type, _odd_encoding,
    _odd_frame, _forged_id, _as_it_is,
)  # fmt: skip
_BOMBS: Sequence[Way] = (_zeros, _values, _oversized, _lengths)


class Raw(bytes):
    """A header's value in AMQP's own bytes, its kind first: there are some that pika does not write."""


def nested(depth: int) -> Raw:
    """Tables within tables."""
    found = (0).to_bytes(4)
    for _ in range(depth):
        field = b"\x01kF" + found
        found = len(field).to_bytes(4) + field
    return Raw(b"F" + found)


#: Headers that anybody may write. (A broker itself takes no NaN.)
HEADERS: Sequence[Mapping[str, Any]] = (
    {"x": Raw(b"T" + b"\x7f" * 8)}, {"x": nested(3000)}, {"mh-code": nested(100)},
    {"x-delivery-count": "many"}, {"x-delivery-count": -5}, {"x-death": "forged"},
    {"x-death": [{"reason": 5, "queue": None}]}, {"mh-code": 5, "mh-at": "never"},
    {"mh-code": "\0", "mh-history": "one", "mh-told": 1}, {"mh-history": ["x" * 5000] * 20},
    {"mh-deliveries": (1 << 63) - 1}, {"mh-alone": "x", "mh-deliveries": []}, {"traceparent": "x" * 5000},
    {"mh-published": "nan"}, {"mh-published": "x" * 50_000}, {"mh-attempts": "1e999"}, {"x": {"y": {"z": [{}]}}},
)  # fmt: skip


def _with_headers(one: Hostile, chance: random.Random) -> Hostile:
    return replace(one, headers=chance.choice(HEADERS)) if chance.random() < 0.3 else one


def _long_key(one: Hostile, chance: random.Random) -> Hostile:
    """Some come with a key of their sender's own, as long as it can be, and by their route for a copy."""
    if one.queue == "dead" or chance.random() >= 0.1:
        return one
    exchange, key = one.route
    return replace(one, route=(exchange, chance.choice(LONG)), headers={**one.headers, "CC": [key]})
