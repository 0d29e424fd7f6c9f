"""A pool with real children, and what comes out of it."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from manyhands.broker import Delivery, Outgoing, Verdict
from manyhands.codec import decode, encode
from manyhands.messages import Judgments, Message, Suite
from manyhands.runner import Outcome
from manyhands.topology import Names
from manyhands_worker.frames import Setup
from manyhands_worker.lane import Limits
from manyhands_worker.pool import Pool
from manyhands_worker.report import Station

HANDLERS = Path(__file__).parents[2] / "handlers"
PLAIN, TROUBLE, PAID = (str(HANDLERS / f"{name}.py") for name in ("plain", "trouble", "paid"))
NAMES = Names()
#: Long enough for a loaded machine; nothing waits that long when all is well.
PATIENCE = 60.0


def suite(judge: str, payloads: Sequence[Any], **changes: Any) -> Suite:
    """A suite of the payloads, at positions 100, 101, ..."""
    given: dict[str, Any] = {
        "job": "j-1", "suite": 1, "stage": 0, "judge": judge, "slot": 0,
        "positions": list(range(100, 100 + len(payloads))), "payloads": list(payloads),
    }  # fmt: skip
    return Suite(**{**given, **changes})


def delivery(
    message: Message, headers: Mapping[str, Any] | None = None, count: int = 0, *, suspect: bool = False
) -> Delivery:
    """A message as it is delivered."""
    encoded = encode(message)
    judge = getattr(message, "judge", "none")
    queue = NAMES.suspects_queue(judge) if suspect else NAMES.tasks_queue(judge)
    return Delivery(
        queue=queue, key=judge, body=encoded.body, type=encoded.type,
        content_encoding=encoded.content_encoding, headers=headers or {}, delivery_count=count,
    )  # fmt: skip


class Results:
    """Outcomes, kept as they come."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []
        self._changed = threading.Condition()

    def finish(self, outcome: Outcome) -> None:
        """What the runner does in earnest."""
        with self._changed:
            self.outcomes.append(outcome)
            self._changed.notify_all()

    def wait(self, count: int) -> list[Outcome]:
        """Wait for so many outcomes."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.outcomes) >= count, PATIENCE), self.outcomes
            return self.outcomes


def setup(*references: str, **changes: Any) -> Setup:
    """The setup of a child of these handlers."""
    import sys

    given: dict[str, Any] = {
        "references": references, "commands": {}, "http": {}, "llm": {}, "children": 1, "judges": [],
        "path": sys.path, "namespace": "",
        "partitions": 4, "worker": "w-1", "host": "h", "body_limit": 1 << 20, "hard_limit": 600.0,
    }  # fmt: skip
    return Setup(**{**given, **changes})


@contextmanager
def pool(*references: str, children: int = 1, limits: Limits | None = None, **changes: Any) -> Iterator[Pool]:
    """A running pool; at the end its children are gone."""
    limits = limits or Limits()
    made = Pool(
        setup(*references, hard_limit=limits.hard, **changes), station(changes.get("body_limit", 1 << 20)),
        children=children, limits=limits,
    )  # fmt: skip
    made.start()
    try:
        yield made
    finally:
        made.close()
        made.end(1)
        assert made.pids == []


def station(limit: int = 1 << 20) -> Station:
    """Where the tests judge."""
    return Station(names=NAMES, worker="w-1", host="h", limit=limit)


def judge(made: Pool, *messages: Message) -> list[list[Outgoing]]:
    """What each of the messages caused, in the order of the messages; every one was acknowledged."""
    results, deliveries = Results(), [delivery(message) for message in messages]
    made.handle(deliveries, results.finish)
    outcomes = results.wait(len(deliveries))
    assert {outcome.verdict for outcome in outcomes} == {Verdict.ACK}
    return [list(o.publish) for d in deliveries for o in outcomes if o.deliveries == [d]]


def read(message: Outgoing) -> Message:
    """A published message, decoded."""
    return decode(message.body, message.type, message.content_encoding)


def judgments(published: Sequence[Outgoing]) -> Judgments:
    """The one Judgments message among those published."""
    (found,) = [read(m) for m in published if m.exchange == "mh.judgments"]
    assert isinstance(found, Judgments)
    return found


def values(published: Sequence[Outgoing]) -> dict[int, Any]:
    """The values by position, of those without an error."""
    found = judgments(published)
    return {p: v for p, v in zip(found.positions, found.values, strict=True) if p not in found.errors}


def suites(published: Sequence[Outgoing], exchange: str) -> list[tuple[str, Suite, Mapping[str, Any]]]:
    """Key, suite and headers of what was published to an exchange."""
    found = []
    for message in published:
        if message.exchange == exchange:
            said = read(message)
            assert isinstance(said, Suite)
            found.append((message.key, said, message.headers))
    return found


def retried(published: Sequence[Outgoing]) -> list[tuple[str, Suite, Mapping[str, Any]]]:
    """What comes back by the retry ladder, or as a suspect."""
    return suites(published, "mh.retry")


def dead(published: Sequence[Outgoing]) -> list[tuple[str, Suite, Mapping[str, Any]]]:
    """The dead letters."""
    return suites(published, "mh.dead")
