"""A part of a run in a process of its own: ready, stopped, failed, killed, left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from manyhands.broker import Broker
from manyhands.errors import HandlerError
from manyhands.ops import Checks
from manyhands.settings import Settings, load
from manyhands_cli.errors import PartFailed
from manyhands_cli.parts import DEATHS, Apart, Checked
from tests.services import wait_until
from tests.unit.worker.test_command import assert_gone

ROOT = Path(__file__).resolve().parents[3]
PATIENCE = 30.0


class Told(Settings):
    """Settings of the services here."""

    file: Path


class Well:
    """A service that is ready at once, and writes down what it is told."""

    def __init__(self, settings: Told, broker: Broker) -> None:
        assert not broker.durable
        self._file = settings.file
        self.checks: Checks = {}

    def start(self) -> None:
        """Say so."""
        self._file.write_text("started")

    def stop(self, grace: float) -> None:
        """Say so."""
        self._file.write_text(f"stopped within {grace:g}")


class Unwell(Well):
    """A service that waits for something."""

    def __init__(self, settings: Told, broker: Broker) -> None:
        super().__init__(settings, broker)
        self.checks = {"tea": lambda: "not brewed yet"}


class Stuck(Well):
    """A service that is long about starting."""

    def start(self) -> None:
        """Say so, and wait."""
        super().start()
        time.sleep(600)


class Refusing(Well):
    """A service that cannot start."""

    def start(self) -> None:
        """Fail."""
        raise HandlerError("no module of that name")


class Dying(Well):
    """A service whose process ends before it is ready."""

    def start(self) -> None:
        """Fail worse."""
        os._exit(7)


def apart(build: Callable[..., Checked], file: Path) -> Apart:
    """A part with one of the services above."""
    return Apart(build, load(Told, broker="memory://", file=file))


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[[Any], Apart]]:
    """Starts parts, which end with the test."""
    parts: list[Apart] = []

    def start(build: Any) -> Apart:
        part = apart(build, tmp_path / "said")
        parts.append(part)
        part.start()
        return part

    yield start
    for part in parts:
        part.stop(0)


def ready(part: Apart) -> None:
    """Wait until it waits for nothing."""
    wait_until(lambda: not part.waiting(), PATIENCE, "the part to be ready", every=0.01)


def test_it_is_started_and_stopped(started: Callable[[Any], Apart], tmp_path: Path) -> None:
    """It is not ready before it says so, and stops within the grace that it is given."""
    part = started(Well)
    assert part.waiting()
    ready(part)
    assert (tmp_path / "said").read_text() == "started"
    part.stop(3)
    assert (tmp_path / "said").read_text() == "stopped within 3"
    assert part.pid is None
    assert part.waiting() == {"process": "not started"}


def test_what_it_waits_for_is_told(started: Callable[[Any], Apart]) -> None:
    """The checks of the service there are known here."""
    part = started(Unwell)
    wait_until(lambda: part.waiting() == {"tea": "not brewed yet"}, PATIENCE, "the checks")


def test_an_error_at_its_start_is_an_error_here(started: Callable[[Any], Apart]) -> None:
    """What no waiting mends is raised with its own kind and its own words."""
    part = started(Refusing)
    with pytest.raises(HandlerError) as raised:
        wait_until(lambda: not part.waiting(), PATIENCE, "an error")
    assert str(raised.value) == "The handlers could not be loaded: no module of that name"


def test_a_process_that_never_was_ready_is_not_started_again(started: Callable[[Any], Apart]) -> None:
    """It would end the same way."""
    part = started(Dying)
    with pytest.raises(PartFailed, match="the dying exited with status 7; what it printed"):
        wait_until(lambda: not part.waiting(), PATIENCE, "an error")


def test_a_killed_process_is_started_again(started: Callable[[Any], Apart]) -> None:
    """As often as it makes sense."""
    part, said = started(Well), []
    for _ in range(DEATHS - 1):
        ready(part)
        pid = part.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        said.append(wait_until(part.waiting, PATIENCE, "news of its end"))
    assert said == [{"process": "was ended by SIGKILL; it is started again"}] * (DEATHS - 1)
    ready(part)
    assert part.pid is not None
    os.kill(part.pid, signal.SIGKILL)
    with pytest.raises(PartFailed, match=r"the well was ended by SIGKILL$"):
        wait_until(part.waiting, PATIENCE, "the last end")


def test_a_process_killed_before_it_was_ready_is_started_again(started: Callable[[Any], Apart]) -> None:
    """Even before it was told what it is to do."""
    part = started(Well)
    assert part.pid is not None
    os.kill(part.pid, signal.SIGKILL)
    wait_until(lambda: "SIGKILL" in part.waiting()["process"], PATIENCE, "news of its end")
    ready(part)


def test_nothing_in_the_working_folder_takes_the_place_of_a_module(
    started: Callable[[Any], Apart], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The part finds the modules that the run finds, wherever it was started."""
    (tmp_path / "html.py").write_text("raise RuntimeError('shadowed')")
    (tmp_path / "select.py").write_text("raise RuntimeError('shadowed')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(ROOT), *filter(None, sys.path)])
    ready(started(Well))


RUN = """
import sys, time
from pathlib import Path
from tests.unit.cli import test_parts
part = test_parts.apart(getattr(test_parts, sys.argv[2]), Path(sys.argv[1]))
part.start()
while not Path(sys.argv[1]).exists():
    part.waiting()
print(part.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("service", ["Well", "Stuck"])
def test_it_ends_with_its_run(tmp_path: Path, service: str) -> None:
    """A run that is killed leaves no process behind, whatever its part was about."""
    command = [sys.executable, "-c", RUN, str(tmp_path / "said"), service]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        pid = int(run.stdout.readline())
        run.kill()
        assert_gone(pid)


def test_ctrl_c_is_for_the_run(started: Callable[[Any], Apart]) -> None:
    """The signals of a terminal or a supervisor do not end a part before its run has it stop."""
    part = started(Well)
    ready(part)
    assert part.pid is not None
    before = part.pid
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(before, number)
    ends = time.monotonic() + 0.3
    while time.monotonic() < ends:
        assert not part.waiting()
    assert part.pid == before
