"""``manyhands dead replay``: what it says of letters that could not be sent."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from manyhands_cli import dead
from manyhands_cli.exits import Exit
from manyhands_cli.main import app

REFUSED = {"letters": 1, "errors": [{"letter": "5f1d", "error": "No queue takes the message: 'job.exploded'"}]}


class Office:
    """An aggregator that sends what is good."""

    def call(self, method: str, path: str, **_: Any) -> dict[str, Any]:
        """What it answers."""
        assert method == "POST"
        sent = {"/api/dead/replay": 3, "/api/dead/good/replay": 1}.get(path, 0)
        return {"letters": sent} if "good" in path else {"letters": sent, "refused": REFUSED}


@pytest.mark.parametrize(("arguments", "sent"), [(["--all"], 3), (["bad", "good"], 1)])
def test_what_could_not_be_sent(monkeypatch: pytest.MonkeyPatch, arguments: list[str], sent: int) -> None:
    """How many were sent; on standard error which were not and why; and the exit code is 1."""
    monkeypatch.setattr(dead, "aggregator_client", lambda *_: Office())
    plain = CliRunner().invoke(app, ["dead", "replay", *arguments])
    assert plain.exit_code == Exit.SHORT
    assert plain.stdout == f"{sent} replayed\n"
    said = " ".join(plain.stderr.split())
    assert said == "1 could not be sent and stay on file: 5f1d: No queue takes the message: 'job.exploded'"
    machine = CliRunner().invoke(app, ["dead", "replay", "--json", *arguments])
    assert machine.exit_code == Exit.SHORT
    assert json.loads(machine.stdout) == {"letters": sent, "refused": REFUSED}


def test_all_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is said of what there is not."""
    monkeypatch.setattr(dead, "aggregator_client", lambda *_: Office())
    done = CliRunner().invoke(app, ["dead", "replay", "--json", "good"])
    assert (done.exit_code, json.loads(done.stdout)) == (Exit.OK, {"letters": 1})
