"""What may stand in a queue that none of our processes wrote, and what is to become of each."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import msgpack
import zstandard

from manyhands.codec import BODY_LIMIT, EVENT, GROWTH_LIMIT, JUDGMENTS, SUITE, encode
from manyhands.messages import Event, Judgments, Message, Suite
from manyhands.topology import Names
from tests.fault.stage import HELD, JUDGE, SIZE, TASKS

#: A job that nobody opened, with an id such as ours.
FORGED = "fault-00000000"


@dataclass(frozen=True, slots=True, kw_only=True)
class Garbage:
    """A body, its route, and the dead letters it is to end as: kind, code, and words of the reason."""

    route: tuple[str, str]
    body: bytes
    type: str
    letters: tuple[tuple[str, str, str], ...]
    encoding: str | None = None


def garbage(names: Names, job: str) -> Iterator[Garbage]:
    """Garbage for every queue, some of it about a real job whose tasks from HELD on are in work."""
    tasks, judgments = names.to_judge(JUDGE), names.to_aggregator(job, HELD // SIZE)
    to_aggregator, to_producer = names.to_roles("job.opened"), names.to_roles("job.completed")
    suite = Suite(job=job, suite=HELD // SIZE, stage=0, judge=JUDGE, slot=0, positions=[HELD], payloads=[HELD])
    said = Judgments(
        job=job, suite=HELD // SIZE, stage=0, judge=JUDGE, slot=0, worker="forger", positions=[HELD], values=[1.0]
    )
    event = Event(name="job.sealed", job=job, data={"tasks": TASKS, "suites": TASKS // SIZE})
    for kind, route, message in (
        ("tasks", tasks, suite),
        ("tasks", names.to_suspects(JUDGE), replace(suite, slot=1)),  # letters that are alike would be filed as one
        ("judgments", judgments, said),
        ("events", to_aggregator, event),
        ("events", to_producer, event),
    ):
        yield from undecodable(kind, route, message)
    yield from strange_tasks(tasks, suite)
    yield from strange_judgments(names, said)
    yield from strange_events(to_aggregator, to_producer, job)


def undecodable(kind: str, route: tuple[str, str], message: Message) -> Iterator[Garbage]:
    """What is no message at all, or none for this queue."""
    whole = encode(message)

    def made(why: str, body: bytes = whole.body, type_: str = whole.type, encoding: str | None = None) -> Garbage:
        return Garbage(route=route, body=body, type=type_, encoding=encoding, letters=((kind, "undecodable", why),))

    stranger = {SUITE: JUDGMENTS, JUDGMENTS: EVENT, EVENT: SUITE}[whole.type]
    yield made("not MessagePack", b"\xc1 nothing of ours " + os.urandom(8))
    yield made("a map is expected", msgpack.packb([os.urandom(8)]))
    yield made("not MessagePack", whole.body[:-3])
    yield made("unknown type", type_="nonsense")
    yield made("unknown type", type_="")
    yield made("unknown type", type_=f"{whole.type[:-1]}2")
    yield made("lacks", type_=stranger)
    yield made("not zstd", zstandard.compress(whole.body)[:-3], encoding="zstd")
    yield made("unpacks to", zstandard.compress(os.urandom(8) + bytes(BODY_LIMIT * GROWTH_LIMIT)), encoding="zstd")
    yield made("unknown content encoding", encoding="gzip")
    yield made("of at most", whole.body + bytes(BODY_LIMIT))


def strange_tasks(route: tuple[str, str], suite: Suite) -> Iterator[Garbage]:
    """Suites that nobody published. They are judged, where they can be, and nobody has asked for their judgments."""

    def made(why: str, kind: str = "judgments", code: str = "stranger", **changes: Any) -> Garbage:
        whole = encode(replace(suite, **changes))
        return Garbage(route=route, body=whole.body, type=whole.type, letters=((kind, code, why),))

    yield made("nothing was heard", job=FORGED, payloads=[1])
    yield made("nothing was heard", job=FORGED, suite=1, payloads=[math.nan])
    yield made("no job of this id", job="../\0", payloads=[1])
    yield made("has positions", positions=[TASKS * 2], payloads=[2])
    yield made("nobody asked the judge", slot=7, payloads=[3])
    yield made("does not serve the judge nobody", "tasks", "unknown-judge", judge="nobody", payloads=[4])


def strange_judgments(names: Names, said: Judgments) -> Iterator[Garbage]:
    """Judgments that nobody asked for, or that are none."""

    def made(code: str, why: str, **changes: Any) -> Garbage:
        forged = replace(said, **changes)
        whole = encode(forged)
        route = names.to_aggregator(forged.job, forged.suite)
        return Garbage(route=route, body=whole.body, type=whole.type, letters=(("judgments", code, why),))

    yield made("stranger", "nothing was heard", job=FORGED)
    yield made("stranger", "no job of this id", job="\0")
    yield made("stranger", "nothing was heard", suite=TASKS * 10)
    yield made("stranger", "nothing was heard", suite=(1 << 53) - 1)
    yield made("stranger", "nobody asked the judge", judge="nobody")
    yield made("stranger", "nobody asked the judge", slot=TASKS)
    yield made("stranger", "nobody asked the judge", stage=3)
    yield made("stranger", "has positions", positions=[0])
    yield made("stranger", "has positions", positions=[(1 << 53) - 1])
    yield made("invalid-answer", "", values=[math.nan])
    yield made("invalid-answer", "", slot=1, values=[-math.inf])
    yield made("invalid-answer", "", slot=1, positions=[HELD + 1], values=["many"])
    yield made("undecodable", "a finite number", started=math.nan)
    yield made("undecodable", "confidences", confidences=[math.nan])


def strange_events(aggregator: tuple[str, str], producer: tuple[str, str], job: str) -> Iterator[Garbage]:
    """Events that say nothing that can be true."""

    def made(route: tuple[str, str], code: str, why: str, name: str, data: dict[str, Any], of: str = job) -> Garbage:
        whole = encode(Event(name=name, job=of, data=data))
        return Garbage(route=route, body=whole.body, type=whole.type, letters=(("events", code, why),))

    opened: dict[str, Any] = {"suites": [1], "firsts": [0], "counts": [5], "ids": [None], "truths": [None]}
    for data, why in (
        ({**opened, "refused": [None], "counts": [math.nan]}, "no whole numbers"),
        ({**opened, "refused": []}, "differ in length"),
        ({**opened, "refused": [None], "suites": [-1]}, "out of range"),
        (opened, "lacks"),
    ):
        yield made(aggregator, "invalid-event", why, "suites.opened", data)
    yield made(aggregator, "invalid-event", "no event for the aggregator", "job.exploded", {})
    yield made(aggregator, "invalid-event", "", "job.sealed", {"tasks": math.nan, "suites": 1})
    yield made(aggregator, "invalid-event", "a job's id", "job.sealed", {"tasks": 1, "suites": 1}, of="a/b\0")
    yield made(aggregator, "invalid-event", "", "job.opened", {"spec": {"name": 1}, "opened": 0}, of=FORGED)
    yield made(producer, "undecodable", "no event for the producer", "job.exploded", {})
    yield made(producer, "undecodable", "list of whole numbers", "suites.settled", {"suites": "all"})
    yield made(producer, "undecodable", "a whole number", "suites.settled", {"suites": [math.nan]})
    yield made(producer, "undecodable", "lacks", "suite.escalated", {"suite": 1})
    yield made(producer, "undecodable", "", "job.completed", {})
    yield made(producer, "undecodable", "", "job.completed", {"state": "over", "tasks": math.nan})
    yield made(producer, "undecodable", "", "suites.settled", {"suites": [1]}, of="a/b\0")
