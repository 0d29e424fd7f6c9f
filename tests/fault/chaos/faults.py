"""What the drill does to its processes, the broker and the store."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import random
import signal
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import psycopg

from tests.fault.chaos.crew import Replica
from tests.fault.proxy import Proxy, Way
from tests.services import Postgres, RabbitMQ, Service

#: Bytes a second over a slow line.
SLOW_LINE = 200_000.0
#: What the broker may run short of: the setting that says when, a value at which it does, and the usual one.
ALARMS = {
    "memory": ("set_vm_memory_high_watermark", "0.0001", "0.4"),
    "disk": ("set_disk_free_limit", "1000000GB", "50MB"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A kind of fault: how often it comes relative to others, what it strikes, and how; returns what undoes it."""

    kind: str
    weight: float
    target: str
    strike: Callable[[], Callable[[], None] | None]
    #: Seconds that it lasts, at least and at most; nothing else strikes its target meanwhile.
    lasts: tuple[float, float] = (0.0, 0.0)


@dataclass(slots=True, kw_only=True)
class Stage:
    """What can be struck."""

    replicas: Sequence[Replica]
    broker: RabbitMQ
    store: Postgres
    to_broker: Proxy
    to_store: Proxy
    chance: random.Random

    def catalogue(self) -> list[Fault]:
        """Every kind of fault."""
        return [*self._of_processes(), *self._of_lines(), *self._of_servers()]

    def _of_processes(self) -> Iterable[Fault]:
        for service in ("producer", "worker", "aggregator"):
            for how, number in (("kill", signal.SIGKILL), ("stop", signal.SIGTERM)):
                yield Fault(kind=f"{how} {service}", weight=3, target=service, strike=self._signal(service, number))
            yield Fault(
                kind=f"freeze {service}", weight=1.5, target=service, strike=self._freeze(service), lasts=(1.0, 4.0)
            )
        yield Fault(kind="kill child", weight=3, target="child", strike=self._kill_child)

    def _of_lines(self) -> Iterable[Fault]:
        for name, proxy in (("broker", self.to_broker), ("store", self.to_store)):
            ways: dict[str, tuple[float, Callable[[], None]]] = {
                f"reset connections to {name}": (2, proxy.reset),
                f"cut line to {name}": (2, proxy.cut),
                f"swallow what goes to {name}": (1, lambda p=proxy: p.stall(Way.UP)),  # type: ignore[misc]
                f"swallow what comes from {name}": (1, lambda p=proxy: p.stall(Way.DOWN)),  # type: ignore[misc]
                f"slow line to {name}": (1, lambda p=proxy: p.slow(SLOW_LINE)),  # type: ignore[misc]
            }
            for kind, (weight, strike) in ways.items():
                yield Fault(kind=kind, weight=weight, target=name, strike=self._line(strike, proxy), lasts=(0.5, 4.0))

    def _of_servers(self) -> Iterable[Fault]:
        for name, server in (("broker", self.broker), ("store", self.store)):
            for how, end in (("kill", server.kill), ("restart", server.stop)):
                back = self._come_back(server, end)
                yield Fault(kind=f"{how} {name}", weight=2, target=name, strike=back, lasts=(5.0, 8.0))
        for what, limits in ALARMS.items():
            short = self._alarm(*limits)
            yield Fault(kind=f"{what} alarm of broker", weight=1, target="broker", strike=short, lasts=(1.0, 4.0))
        yield Fault(kind="close connections of broker", weight=1, target="broker", strike=self._close_connections)
        yield Fault(kind="end sessions of store", weight=2, target="store", strike=self._end_sessions)

    # -- how -----------------------------------------------------------------------------------------------------------

    def _some(self, service: str) -> Replica | None:
        up = [replica for replica in self.replicas if replica.service == service and replica.up]
        return self.chance.choice(up) if up else None

    def _signal(self, service: str, number: signal.Signals) -> Callable[[], None]:
        def strike() -> None:
            if (replica := self._some(service)) is None:
                raise Missed
            replica.send(number)

        return strike

    def _freeze(self, service: str) -> Callable[[], Callable[[], None]]:
        def strike() -> Callable[[], None]:
            if (replica := self._some(service)) is None:
                raise Missed
            replica.send(signal.SIGSTOP)
            return lambda: replica.send(signal.SIGCONT)

        return strike

    def _kill_child(self) -> None:
        replica = self._some("worker")
        children = [] if replica is None else replica.children()
        if not children:
            raise Missed
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.chance.choice(children), signal.SIGKILL)

    @staticmethod
    def _line(how: Callable[[], None], proxy: Proxy) -> Callable[[], Callable[[], None]]:
        def strike() -> Callable[[], None]:
            how()
            return proxy.mend

        return strike

    @staticmethod
    def _come_back(server: Service, end: Callable[[], None]) -> Callable[[], None]:
        def strike() -> None:
            end()
            server.node.start()

        return strike

    def _ctl(self, *arguments: str) -> None:
        try:
            self.broker.ctl(*arguments)
        except RuntimeError:
            raise Missed from None  # it is not up yet

    def _alarm(self, limit: str, short: str, normal: str) -> Callable[[], Callable[[], None]]:
        def strike() -> Callable[[], None]:
            self._ctl(limit, short)
            return lambda: self._ctl(limit, normal)

        return strike

    def _close_connections(self) -> None:
        self._ctl("close_all_connections", "drill")

    def _end_sessions(self) -> None:
        with contextlib.suppress(psycopg.OperationalError), psycopg.connect(self.store.url, connect_timeout=5) as admin:
            admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")


class Missed(Exception):  # it is what happened
    """There was nothing to strike."""


@dataclass(slots=True)
class Storm:
    """Strikes at random; what lasts is undone when its time has come. Time is given, not taken."""

    stage: Stage
    counts: Counter[str] = field(default_factory=Counter)
    _undo: list[tuple[float, int, str, Callable[[], None] | None]] = field(default_factory=list)
    _order: itertools.count[int] = field(default_factory=itertools.count)

    def strike(self, now: float) -> str | None:
        """Strike something that nothing else is striking; which kind of fault it was."""
        chance = self.stage.chance
        busy = {target for _, _, target, _ in self._undo}
        faults = [fault for fault in self.stage.catalogue() if fault.target not in busy]
        (fault,) = chance.choices(faults, [fault.weight for fault in faults])
        lasts = chance.uniform(*fault.lasts)
        try:
            undo = fault.strike()
        except Missed:
            return None
        self.counts[fault.kind] += 1
        if lasts:
            heapq.heappush(self._undo, (now + lasts, next(self._order), fault.target, undo))
        return fault.kind

    def undo(self, now: float = float("inf")) -> None:
        """Undo what has lasted long enough; by default all of it."""
        while self._undo and self._undo[0][0] <= now:
            _, _, _, undo = heapq.heappop(self._undo)
            if undo is not None:
                undo()
