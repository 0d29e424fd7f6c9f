"""What the producer's tests share: sources read whole, and a producer of which every step is taken by hand."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from manyhands.broker import Outgoing
from manyhands.codec import decode
from manyhands.errors import BrokerError
from manyhands.messages import Event, Suite
from manyhands.spec import JobSpec, parse
from manyhands.testing import FakePublisher
from manyhands_producer.board import Live
from manyhands_producer.cutter import Limits
from manyhands_producer.events import Events
from manyhands_producer.publisher import Pump
from manyhands_producer.reader import Reader
from manyhands_producer.requests import Requests
from manyhands_producer.settings import ProducerSettings
from manyhands_producer.sources import Refusal, Rows, open_source
from tests.unit.producer.clock import TurningClock


def job_spec(source: Mapping[str, Any] | None = None, **more: Any) -> JobSpec:
    """A job with one judge, unless more is said."""
    data: dict[str, Any] = {"name": "job", "answer": {"type": "text"}, "stages": [{"judges": ["j"]}], "suite": 2}
    if source is not None:
        data["source"] = dict(source)
    return parse(data | more)


def read_all(spec: JobSpec, *, most: int = 1000, reopen: bool = False) -> Rows:
    """All rows of a source as one; ``reopen`` goes on from the cursor in a new object after every read."""
    rows = Rows(payloads=[])
    source = open_source(spec)
    said: list[str] = []
    while True:
        part = source.read(most, 1 << 20)
        base = len(rows.payloads)
        said += [part.where(i) for i in range(len(part.payloads))]
        rows.payloads += part.payloads
        rows.refused |= {base + i: refusal for i, refusal in part.refused.items()}
        if part.ids is not None:
            rows.ids = [*(rows.ids or []), *part.ids]
        if part.truths is not None:
            rows.truths = [*(rows.truths or []), *part.truths]
        if part.end:
            break
        if reopen:
            cursor = json.loads(json.dumps(source.cursor))
            source.close()
            source = open_source(spec, cursor)
    source.close()
    rows.where = said.__getitem__
    return rows


def refusals(rows: Rows) -> dict[int, tuple[str, str]]:
    """The refused rows: code and message by index."""
    return {i: (r.code, r.message) for i, r in rows.refused.items() if isinstance(r, Refusal)}


class HeldPublisher(FakePublisher):
    """Keeps what is published, and confirms it only when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[tuple[Outgoing, Callable[[BrokerError | None], None]]] = []

    def publish(self, message: Outgoing, confirmed: Callable[[BrokerError | None], None]) -> None:
        """Keep the message."""
        self.published.append(message)
        self.held.append((message, confirmed))

    def confirm(self, only: Callable[[Outgoing], bool] = lambda _: True, error: BrokerError | None = None) -> None:
        """Confirm or fail what is held."""
        held, self.held = self.held, []
        for message, confirmed in held:
            if only(message):
                confirmed(error)
            else:
                self.held.append((message, confirmed))


class FakeBroker:
    """A broker that declares everything and keeps nothing."""

    def __init__(self, *, durable: bool = True) -> None:
        self.durable = durable
        self.declared: list[set[str]] = []
        self.version = "fake"

    def declare(self, topology: Any) -> None:
        """Note the queues."""
        self.declared.append({queue.name for queue in topology.queues})

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} is not for these tests")


class Bench:
    """A producer without threads: each of its parts takes a step when a test says so."""

    def __init__(
        self, folder: Path, publisher: FakePublisher | None = None, *, durable: bool = True, url: str | None = None
    ) -> None:
        self.clock = TurningClock()
        self.broker = FakeBroker(durable=durable)
        self.publisher = publisher or FakePublisher()
        self.settings = ProducerSettings(
            store=SecretStr(url or f"sqlite:///{folder}/store.db"), source_roots=(str(folder), "memory://")
        )
        broker: Any = self.broker
        self.requests = Requests(self.settings, broker, self.clock, open_sources=False)
        self.store, self.board = self.requests.store, self.requests.board
        assert self.store.open(threading.Event())
        self.requests._opened.set()
        self.requests._leading.set()
        for row in self.store.live():
            self.requests._put(row)
        self.reader = Reader(self.store, self.board, Limits(self.settings.body_limit), self.clock, self.requests._roots)
        self.pump = Pump(self.settings, self.store, self.board, broker, self.publisher, self.clock)
        self.events = Events(self.settings.names, self.settings.body_limit, self.store, self.board, self.clock)

    def live(self, job: str) -> Live:
        """A job on the board."""
        live = self.board.get(job)
        assert live is not None
        return live

    def read(self) -> None:
        """Read whatever there is room for."""
        while self.reader.round():
            pass

    def publish(self) -> None:
        """Publish whatever may be, and save how far it came."""
        while self.pump.round():
            pass
        self.clock.turn(1)
        self.pump.round()

    def settle(self, job: str, suites: Sequence[int]) -> None:
        """As if the aggregator had settled these suites."""
        gone = self.store.settle({job: suites}, {})
        self.board.settled(job, gone.get(job, ()))

    def run(self, job: str) -> None:
        """Until the job is published whole, as if every suite were settled at once."""
        for _ in range(10_000):
            self.read()
            self.publish()
            live = self.board.get(job)
            if live is None or (live.state != "open" and not live.ahead and not live.unsettled):
                return
            self.settle(job, sorted(live.unsettled))
        raise AssertionError(f"{job} comes to no end")

    @property
    def said(self) -> list[Suite | Event]:
        """Everything that was published, decoded."""
        messages = [decode(m.body, m.type, m.content_encoding) for m in self.publisher.published]
        return [m for m in messages if isinstance(m, (Suite, Event))]

    def suites(self, job: str | None = None) -> list[Suite]:
        """The suites that were published."""
        return [m for m in self.said if isinstance(m, Suite) and job in (None, m.job)]

    def told(self, name: str, job: str | None = None) -> list[dict[str, Any]]:
        """The data of the events of a name that were published."""
        return [dict(m.data) for m in self.said if isinstance(m, Event) and m.name == name and job in (None, m.job)]
