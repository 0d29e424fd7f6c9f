"""The command itself: help, usage, completion, errors, and that it starts fast."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from manyhands import __version__
from manyhands_cli.client import Client
from manyhands_cli.errors import NotThere, ServiceAway
from manyhands_cli.exits import Exit
from manyhands_cli.main import app
from manyhands_cli.options import complete_job

#: What takes long to import, and what only a command with options or a service to talk to needs.
HEAVY = ("sqlalchemy", "alembic", "fastapi", "jsonschema", "pika", "kombu", "arro3")
SOME = ("pydantic", "httpx", "structlog", "rich.progress")
#: Commands that a program may read.
WITH_JSON = [
    "run", "plan", "aggregate", "replay", "submit", "status", "cancel", "audit", "dead list", "dead show",
    "dead replay",
    "dead drop", "topology declare", "topology check",
]  # fmt: skip


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every command that does something, with the words that call it."""
    for name, one in getattr(command, "commands", {}).items():
        yield from commands(one, (*path, name))
    if not hasattr(command, "commands"):
        yield " ".join(path), command


ALL = dict(commands(typer.main.get_command(app)))


def call(*arguments: str, env: dict[str, str] | None = None) -> Any:
    """Run the command in this process."""
    return CliRunner().invoke(app, arguments, env=env)


@pytest.mark.parametrize("name", ALL)
def test_help_teaches(name: str) -> None:
    """Each command says what it does, shows an example that begins with its own name, and explains every option."""
    said = ALL[name].help
    assert f"Example: manyhands {name} " in said
    assert all(parameter.help for parameter in ALL[name].params)
    assert call(*name.split(), "--help").exit_code == 0


@pytest.mark.parametrize("name", WITH_JSON)
def test_json_where_a_program_would_read_it(name: str) -> None:
    """These commands have --json."""
    assert any("--json" in parameter.opts for parameter in ALL[name].params)


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["run"],
        ["run", "x", "--nope"],
        ["dead", "replay"],
        ["dead", "drop"],
        ["plan", "x", "--pilot", "0"],
    ],
)
def test_a_wrong_command_line_is_exit_2(arguments: list[str]) -> None:
    """As everywhere."""
    assert call(*arguments).exit_code == Exit.USAGE


def test_options_that_exclude_each_other() -> None:
    """They are refused before anything is asked of a service."""
    assert call("dead", "replay", "letter", "--all").exit_code == Exit.USAGE
    assert call("dead", "drop", "letter", "--cause", "x").exit_code == Exit.USAGE
    assert call("results", "job", "--failed", "--format", "jsonl").exit_code == Exit.USAGE


def test_a_missing_job_file_is_one_sentence() -> None:
    """On standard error, with the exit code for bad input."""
    for command in ("run", "plan", "submit"):
        done = call(command, "nowhere.yaml")
        assert (done.exit_code, done.stdout) == (Exit.INPUT, "")
        assert done.stderr == "manyhands: The job file is not right: there is no file nowhere.yaml\n"


def test_no_service_is_one_sentence() -> None:
    """It names the service, its URL, and what to do."""
    away = "http://127.0.0.1:1"
    for arguments in (["status"], ["cancel", "j"], ["watch", "j"], ["audit", "j"], ["results", "j"], ["dead", "list"]):
        done = call(*arguments, env={"MANYHANDS_PRODUCER_URL": away, "MANYHANDS_AGGREGATOR_URL": away})
        assert done.exit_code == Exit.AWAY
        assert done.stderr.startswith("manyhands: The service cannot be reached: no ")
        assert away in done.stderr
        assert done.stderr.count("\n") == 1


def test_an_audit_of_a_store_that_is_not_there(tmp_path: Path) -> None:
    """No empty store is made on the way."""
    done = call("audit", "job", "--store", f"sqlite:///{tmp_path / 'none.db'}")
    assert done.exit_code == Exit.AWAY
    assert "there is no file" in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_password_in_an_error_is_masked() -> None:
    """Not even an error shows it."""
    done = call("run", "nowhere.yaml", "--broker", "amqp://user:secret@host/")
    assert "secret" not in done.stderr
    done = call("topology", "check", "--broker", "nonsense://user:secret@host/")
    assert done.exit_code == Exit.INPUT
    assert "secret" not in done.stderr


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that nobody expected is not dressed up as one that somebody did."""
    monkeypatch.setattr(Client, "call", lambda *_, **__: 1 / 0)
    assert isinstance(call("status").exception, ZeroDivisionError)


def test_the_version() -> None:
    """One line."""
    assert call("--version").stdout == f"{__version__}\n"


def test_completion_script() -> None:
    """The shell is given a script that asks this command."""
    done = subprocess.run(
        [sys.executable, "-m", "manyhands_cli", "--show-completion", "bash"],
        capture_output=True, text=True, timeout=60, check=False,
        # or the shell would be the one that started the tests, which may be any
        env={**os.environ, "SHELL": "/bin/bash", "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
    )  # fmt: skip
    assert done.returncode == 0
    assert "_MANYHANDS_COMPLETE=complete_bash" in done.stdout


def test_job_ids_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that begin so, of the aggregator that the environment names; none where there is none."""
    jobs = [{"job": "digits-1", "state": "open"}, {"job": "reviews-2", "state": "complete"}]
    context = typer.Context(typer.main.get_command(app))
    context.params = {"aggregator": "http://127.0.0.1:1"}
    assert complete_job(context, "") == []
    monkeypatch.setattr(Client, "call", lambda *_, **__: jobs)
    assert complete_job(context, "di") == [("digits-1", "open")]
    assert complete_job(context, "") == [("digits-1", "open"), ("reviews-2", "complete")]


@pytest.mark.parametrize(("command", "heavy"), [("--help", HEAVY + SOME), ("status", HEAVY)])
def test_nothing_heavy_is_imported(command: str, heavy: tuple[str, ...]) -> None:
    """Asking for help, or how a job is, loads no database, no web framework, no broker."""
    code = f"""
import sys
sys.argv = ["manyhands", "{command}"]
from manyhands_cli.main import main
try:
    main()
except SystemExit:
    pass
print([name for name in {heavy!r} if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr.splitlines()[-1] == "[]"


def test_whoever_closes_the_pipe_hears_nothing() -> None:
    """`manyhands topology export | head -1` ends quietly, with exit code 0."""
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"'{sys.executable}' -m manyhands_cli topology export | head -c 1"],
        capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "MANYHANDS_PARTITIONS": "256"},  # more than a pipe holds
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "{", "")


def test_a_service_that_goes_away_while_a_job_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once it has answered it is waited for; the job's end is still seen, when its answers are final."""
    said = {
        "state": "complete", "tasks": 1, "answered": 1, "failed": 0, "cancelled": 0, "judgments": 1, "rate": 1.0,
        "eta_seconds": 0.0, "published": 1,
    }  # fmt: skip
    open_, due = {**said, "state": "open"}, {**said, "due": True}
    answers = iter([open_, open_, ServiceAway("gone"), said, due, said, said])

    def answer(*_: object, **__: object) -> Any:
        one = next(answers)
        if isinstance(one, Exception):
            raise one
        return one

    monkeypatch.setattr(Client, "call", answer)
    monkeypatch.setattr("manyhands_cli.watch.LOOK", 0)
    done = call("watch", "job")
    assert done.exit_code == Exit.OK
    assert next(answers, None) is None


@pytest.mark.parametrize("command", ["watch", "status"])
def test_a_judge_whom_nobody_serves_is_named(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    """Whoever looks at a job that stands still is told that it waits for a worker; an older aggregator cannot tell."""
    said = {
        "state": "open", "tasks": 1, "answered": 0, "failed": 0, "cancelled": 0, "judgments": 0, "rate": 0.0,
        "eta_seconds": None, "published": 1,
    }  # fmt: skip
    asked = iter([{"judges": ["typo"]}, NotThere("/unserved")])
    looks = iter(range(100))

    def answer(_client: Client, _method: str, path: str, **_: object) -> Any:
        if path.endswith("/unserved"):
            one = next(asked, None)
            if not isinstance(one, dict):
                raise NotThere(path)
            return one
        return {**said, "state": "complete"} if command == "watch" and next(looks) > 8 else said

    monkeypatch.setattr(Client, "call", answer)
    for name in ("watch.LOOK", "watch.IDLE", "progress.LINE_EVERY"):
        monkeypatch.setattr(f"manyhands_cli.{name}", 0)
    done = call(command, "job")
    assert done.exit_code == Exit.OK
    assert ("no worker serves typo" if command == "watch" else '["typo"]') in done.output
    assert call(command, "job").exit_code == Exit.OK
