"""Fixtures of the end-to-end tier."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.processes import EXAMPLES, Process, command

DIGITS = EXAMPLES / "digits" / "job.yaml"


@pytest.fixture
def start_run() -> Iterator[Callable[..., Process]]:
    """Starts a command that goes on while the test does; whatever still runs at its end is killed."""
    started: list[Process] = []

    def start(*arguments: str, code: str | None = None) -> Process:
        started.append(Process(*arguments, env={}, code=code))
        return started[-1]

    yield start
    for process in started:
        process.kill()


@pytest.fixture(autouse=True)
def balanced(tmp_path: Path) -> Iterator[None]:
    """Whatever a test ran into its folder, to the end or not, balances when the test is over."""
    yield
    for note in tmp_path.rglob("run.json"):
        if ":***@" in json.loads(note.read_text())["store"]:
            continue  # the password is not kept: the test that chose the store audits it
        audited = command("audit", str(note.parent), "--json")
        assert audited.returncode == 0, audited.stdout + audited.stderr


@pytest.fixture(scope="session")
def embedded_digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of the digits example on the embedded default: what every other way must equal, byte for byte.

    Its bundle is beside it.
    """
    out = tmp_path_factory.mktemp("embedded") / "digits"
    done = command("run", str(DIGITS), "--out", str(out), "--bundle", str(out.with_name("bundle")))
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture
def job(tmp_path: Path) -> Callable[..., Path]:
    """Writes a job file (with handlers and source beside it) and returns its path."""

    def write(handlers: str, rows: str | bytes, name: str = "rows.jsonl", **keys: Any) -> Path:
        (tmp_path / "handlers.py").write_text(handlers)
        (tmp_path / name).write_bytes(rows.encode() if isinstance(rows, str) else rows)
        said = {
            "name": "test", "source": {"path": name}, "answer": {"type": "text"}, "stages": [{"judges": ["echo"]}],
            "handlers": "handlers.py", **keys,
        }  # fmt: skip
        file = tmp_path / "job.yaml"
        file.write_text(json.dumps(said))  # JSON is YAML
        return file

    return write
