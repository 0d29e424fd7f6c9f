"""How a run follows its job: to its end, to a stop, or to what no waiting mends."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from manyhands.errors import SettingsError, StoreUnavailable, UnknownJob
from manyhands_cli import run
from manyhands_cli.progress import JobProgress

OPEN = {
    "state": "open", "tasks": 1, "answered": 0, "failed": 0, "cancelled": 0, "judgments": 0, "rate": 0.0,
    "eta_seconds": None,
}  # fmt: skip
FULL = {"aggregator store": "database or disk is full"}


class Fake:
    """An installation that says what it is told to, one saying a look; the last one for ever."""

    def __init__(
        self, *said: Any, waiting: tuple[dict[str, str], ...] = ({},), heard: tuple[str, ...] = ("ended",)
    ) -> None:
        self._said, self._waiting, self._heard = self._each(said), self._each(waiting), self._each(heard)
        self.aggregator = SimpleNamespace(progress=self._progress)
        self.producer = SimpleNamespace(status=lambda _job: {"published": 1, "tasks": 1, "state": next(self._heard)})

    @staticmethod
    def _each(values: tuple[Any, ...]) -> Iterator[Any]:
        yield from values
        while True:
            yield values[-1]

    def waiting(self) -> dict[str, str]:
        """What is waited for."""
        said: dict[str, str] = next(self._waiting)
        return said

    def _progress(self, _job: str) -> Any:
        said = next(self._said)
        if isinstance(said, Exception):
            raise said
        return said


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look all the time."""
    for name in ("LOOK", "CHECK", "STARTING", "STAND_BY"):
        monkeypatch.setattr(run, name, 0.0)


@pytest.fixture
def notes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was said meanwhile."""
    said: list[str] = []
    monkeypatch.setattr(JobProgress, "note", lambda _self, text: said.append(text))
    return said


def follow(fake: Any, stop: threading.Event | None = None) -> bool:
    """Follow a job of a fake."""
    return run._follow(fake, "job", JobProgress("job", quiet=True), stop or threading.Event())


def test_to_its_end(notes: list[str]) -> None:
    """A job that is not heard of yet, open, and ended."""
    assert follow(Fake(UnknownJob("job"), OPEN, {**OPEN, "state": "partial"}))
    assert not notes


def test_answers_that_are_to_be_gone_over_are_waited_for() -> None:
    """A deadline ends a job before its answers are final; what is written is what they are in the end."""
    ended: dict[str, Any] = {**OPEN, "state": "partial"}
    fake = Fake(OPEN, {**ended, "due": True}, {**ended, "due": True}, ended, SettingsError("looked once too often"))
    assert follow(fake)
    stop = threading.Event()
    stop.set()
    assert follow(Fake({**ended, "due": True}), stop) is False


def test_the_producer_hears_of_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else its store would keep the job as unfinished, and be refused to the next run; but not for ever."""
    ended: dict[str, Any] = {**OPEN, "state": "complete"}
    fake = Fake(ended, ended, ended, SettingsError("looked once too often"), heard=("sealed", "sealed", "ended"))
    assert follow(fake)
    assert next(fake._heard) == "ended"
    monkeypatch.setattr(run, "HEARD", 0.0)
    assert follow(Fake(ended, SettingsError("looked once too often"), heard=("sealed",)))


def test_a_stop_is_no_end() -> None:
    """Stopped before its end."""
    stop = threading.Event()
    stop.set()
    assert follow(Fake(OPEN), stop) is False


def test_a_store_that_comes_back_is_waited_for(notes: list[str]) -> None:
    """What is waited for is said, and the job goes on."""
    away = {"aggregator store": "connection refused"}
    assert follow(Fake(OPEN, StoreUnavailable("x"), {**OPEN, "state": "complete"}, waiting=({}, away, {})))
    assert notes == ["waiting for the aggregator store: x", "waiting for the aggregator store: connection refused"]


def test_a_store_that_only_the_run_cannot_reach(notes: list[str]) -> None:
    """Its parts may be well: then it says itself what it waits for."""
    assert follow(Fake(OPEN, StoreUnavailable("no more connections"), {**OPEN, "state": "complete"}))
    assert notes == ["waiting for the aggregator store: no more connections"]


def test_a_full_disk_ends_the_run() -> None:
    """Nobody waits for ever for what only the machine's owner can mend."""
    with pytest.raises(StoreUnavailable, match="disk is full; make room"):
        follow(Fake(OPEN, waiting=(FULL,)))
    with pytest.raises(StoreUnavailable, match="disk is full; make room"):
        run._until_ready(Fake(waiting=(FULL,)), JobProgress("job", quiet=True), threading.Event())  # type: ignore[arg-type]


def test_a_store_that_another_producer_works_on() -> None:
    """After a while it is refused: its producer would take this run's job."""
    fake = Fake(waiting=({"producer lead": "another producer works on this store"},))
    with pytest.raises(SettingsError, match="--store"):
        run._until_ready(fake, JobProgress("job", quiet=True), threading.Event())  # type: ignore[arg-type]


def test_waiting_ends_with_a_stop(notes: list[str]) -> None:
    """A broker that is away is named; Ctrl-C ends the waiting."""
    stop = threading.Event()
    stop.set()
    fake: Any = Fake(waiting=({"worker broker": "connecting"},))
    run._until_ready(fake, JobProgress("job", quiet=True), stop)
    assert notes == ["waiting for the worker broker: connecting"]


def test_what_a_job_has_cost_is_said_in_words() -> None:
    """Programs have it as a map."""
    assert run.said_of_cost({"by_price": 3.4, "rewards": 4.25, "whole": 7.65}) == "7.65: 3.4 by price, 4.25 in rewards"
