"""Reputations on the command line: in which order, how many, out of which store, and forgotten."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from manyhands_cli.client import Client
from manyhands_cli.exits import Exit
from manyhands_cli.main import app
from tests.unit.aggregator.kit import Bench, Job, open_store

#: Three good ones, ada the best, and dan, who is mostly wrong.
SAID = {"ada": "aaaaaaaa", "ben": "aaaaaaab", "cyd": "aaaaaaab", "dan": "bbbbbbba"}


def call(*arguments: object) -> Any:
    """What the command says."""
    return CliRunner().invoke(app, ["workers", *map(str, arguments)])


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A store with a job that has ended."""
    url = f"sqlite:///{tmp_path / 'm.db'}"
    bench = Bench(open_store(url))
    job = Job(count=8, size=8, judges=[{"people": 4}], truths=["a"] * 8)
    bench.take(*job.news())
    for slot, (worker, said) in enumerate(SAID.items()):
        bench.take(job.judged(0, list(said), judge="people", slot=slot, worker=worker))
    assert bench.state(job) == "complete"
    bench.store.close()
    return url


def test_who_is_surely_bad_comes_first(url: str) -> None:
    """By the upper bound; programs get all, people as many as they ask for."""
    rows = json.loads(call("--store", url, "--json").stdout)
    assert [row["worker"] for row in rows] == ["people/dan", "people/ben", "people/cyd", "people/ada"]
    assert [row["accuracy_high"] for row in rows] == sorted(row["accuracy_high"] for row in rows)
    assert json.loads(call("--store", url, "--worker", "ada", "--json").stdout) == rows[3:]
    assert json.loads(call("--store", url, "--type", "number", "--json").stdout) == []
    assert len(json.loads(call("--store", url, "--limit", 2, "--json").stdout)) == 2
    table = call("--store", url, "--limit", 2).stdout
    assert "people/dan" in table
    assert "people/ada" not in table
    assert "the first 2 of 4; --limit shows more" in table
    assert call("--store", url, "--type", "number").stdout == "no reputations yet: they come with jobs that end\n"


def test_somebody_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the running aggregator, and nobody else with it."""
    asked: list[Any] = []

    def answers(_: Client, *request: str, **options: Any) -> Any:
        asked.append((*request, options["params"]))
        return {"jobs": 3}

    monkeypatch.setattr(Client, "call", answers)
    assert call("--forget", "ann").stdout == "forgotten of ann: what it has shown in 3 jobs\n"
    assert json.loads(call("--forget", "ann", "--json").stdout) == {"jobs": 3}
    assert asked == [("DELETE", "/api/reputations", {"worker": "ann"})] * 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["some-job", "--type", "choice"],
        ["some-job", "--limit", 3],
        ["some-job", "--store", "sqlite:///x.db"],
        ["some-job", "--forget", "ann"],
        ["--forget", "ann", "--worker", "ann"],
        ["--type", "colour"],
    ],
)
def test_options_that_exclude_each_other(arguments: list[object]) -> None:
    """What is about one job is not about all."""
    assert call(*arguments).exit_code == Exit.USAGE
