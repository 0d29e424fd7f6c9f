"""The life of a process: signals, the wait for them, the stop within the grace period."""

from __future__ import annotations

import logging
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from typing import Protocol

from manyhands import backoff, logs, tracing
from manyhands.broker import Broker, connect
from manyhands.errors import BrokerError, SettingsError
from manyhands.settings import Settings
from manyhands.topology import Topology

_log = logs.get(__name__)

#: Seconds of one wait for a signal, or for a thread that dies.
WAIT = 1.0
#: Seconds for the last spans, though the grace be over: what the process did at its end is what one wants to see.
LAST_SPANS = 1.0


class Service(Protocol):
    """Something that runs in the background until it is stopped."""

    def start(self) -> None:
        """Start and return at once."""

    def stop(self, grace: float) -> None:
        """Take no more, finish or hand back what is in hand within ``grace`` seconds, close."""


def declared(
    broker: Broker, wanted: Topology, stop: threading.Event, waiting: Callable[[str], None] = lambda _: None
) -> bool:
    """Declare the topology; False when told to stop.

    Waits with back-off while the broker is away or refuses, and says why to ``waiting``.
    """
    attempt, said = 0, ""
    while not stop.is_set():
        try:
            broker.declare(wanted)
        except BrokerError as error:
            attempt += 1
            delay = backoff.reconnect_delay(attempt, random.random)
            waiting(str(error))
            # the same again is no news, but a log that goes silent is none either
            level = logging.INFO if said == str(error) else logging.WARNING
            said = str(error)
            _log.log(level, "waiting for the broker", error=said, again_in=round(delay, 2))
            stop.wait(delay)
        else:
            return True
    return False


def broker_of(settings: Settings, name: str) -> Broker:
    """The broker of the settings; ``name`` is how it shows up there.

    Raises:
        SettingsError: its URL or a file for TLS is not right.
    """
    return connect(settings.broker.get_secret_value(), name=name, tls=settings.broker_tls)


def shared_broker(settings: Settings, name: str) -> Broker:
    """The broker of the settings, for a process that others must reach through it; ``name`` is how it shows up there.

    Raises:
        SettingsError: it is none, or is within this process.
    """
    if settings.broker.get_secret_value().startswith("memory:"):
        raise SettingsError("no other process can reach a broker at memory://; give an amqp:// URL with --broker")
    return broker_of(settings, name)


def live(name: str, settings: Settings, broker: Broker, service: Service, close: Callable[[], None]) -> int:
    """Run a service until SIGTERM or SIGINT, then stop it within its grace period; the exit code.

    ``close`` ends what serves health and API; it is called last, so that a draining process can still be asked. A
    second signal ends the process at once: what it held goes back to the queues, as after any crash.

    A thread that dies of an error ends the process as well, with 1: whoever started it can start it again, while a
    process that went on without the thread would be deaf and look alive.

    Raises:
        SettingsError: traces are wanted, and cannot be taken.
    """
    tracing.start(settings, name)
    asked = threading.Event()

    def on_signal(number: int, _frame: object) -> None:
        if asked.is_set():
            os._exit(128 + number)
        asked.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    died = threading.Event()

    def on_death(what: threading.ExceptHookArgs) -> None:
        _log.error("a thread died", thread=what.thread and what.thread.name, exc_info=what.exc_value)
        died.set()

    before, threading.excepthook = threading.excepthook, on_death
    try:
        service.start()
        # with a timeout, because a wait without one keeps signals from being handled in time
        while not asked.wait(WAIT) and not died.is_set():
            pass
        _log.info("stopping", process=name, grace=settings.grace)
        ends = time.monotonic() + settings.grace
        service.stop(settings.grace)
        broker.close()
        tracing.stop(max(LAST_SPANS, ends - time.monotonic()))
        close()
        _log.info("stopped", process=name)
    finally:
        threading.excepthook = before
    return 0 if asked.is_set() else 1
