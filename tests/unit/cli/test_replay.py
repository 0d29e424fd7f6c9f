"""The command ``replay``, in this process, on a small file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from manyhands.testing.crowd import Crowd, simulate
from manyhands_cli.exits import Exit
from manyhands_cli.main import app


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Judgments and truths of a simulated crowd."""
    folder = tmp_path_factory.mktemp("crowd")
    crowd = simulate(Crowd(tasks=60, classes=3, workers=12, redundancy=6, seed=3))
    rows = zip(crowd.task.tolist(), crowd.worker.tolist(), np.array(list("abc"))[crowd.label].tolist(), strict=True)
    answers, truth = folder / "answers.csv", folder / "truth.csv"
    answers.write_text("task,worker,label\n" + "".join(f"t{t},w{w},{k}\n" for t, w, k in rows))
    truth.write_text("task,label\n" + "".join(f"t{t},{'abc'[k]}\n" for t, k in enumerate(crowd.truth.tolist())))
    return str(answers), str(truth)


def test_replay_for_a_program(files: tuple[str, str]) -> None:
    """One object with what was bought, how right it was, and the same of fixed redundancies."""
    found = CliRunner().invoke(
        app, ["replay", files[0], "--truth", files[1], "--policy", "margin=2,at_most=4", "--seeds", "2", "--json"]
    )
    assert found.exit_code == Exit.OK, found.output
    said = json.loads(found.stdout)
    assert said["rule"] == {"margin": 2, "at_most": 4}
    assert (said["policy"], said["seeds"], said["tasks"]) == ("margin=2,at_most=4", 2, 60)
    assert 120 <= said["judgments"] <= 240
    assert 0.5 < said["accuracy"] <= 1
    assert 0 < said["margin_error_at_most"] < 0.5
    assert {name: point["judgments"] for name, point in said["fixed"].items()} == {
        "1": 60, "2": 120, "3": 180, "5": 300, "all": 360,
    }  # fmt: skip
    assert said["saved_against_all"] == pytest.approx(1 - said["judgments"] / 360, abs=1e-6)
    assert said["saved_against_fixed"] < said["saved_against_all"] or said["accuracy"] > said["fixed"]["5"]["accuracy"]


def test_replay_for_people(files: tuple[str, str]) -> None:
    """A table with a line for the policy and one for each fixed redundancy."""
    found = CliRunner().invoke(app, ["replay", files[0], "--truth", files[1], "--seeds", "1"])
    assert found.exit_code == Exit.OK, found.output
    for line in (
        "adaptive",
        "1 a task",
        "5 a task",
        "all",
        "saved against all",
        "saved against fixed",
        "confidence=0.85",
    ):
        assert line in found.stdout


def test_bad_rows_are_named_and_the_rest_replayed(files: tuple[str, str], tmp_path: Path) -> None:
    """On standard error, each by its line."""
    answers = tmp_path / "answers.csv"
    answers.write_text(Path(files[0]).read_text() + "t1,w1\n")
    found = CliRunner().invoke(app, ["replay", str(answers), "--truth", files[1], "--seeds", "1", "--json"])
    assert found.exit_code == Exit.OK, found.output
    assert "line 362: no label; left out" in " ".join(found.stderr.split())
    assert json.loads(found.stdout)["fixed"]["all"]["judgments"] == 360


def test_a_policy_that_is_not_right(files: tuple[str, str]) -> None:
    """One sentence, and the exit code of bad input."""
    found = CliRunner().invoke(app, ["replay", files[0], "--truth", files[1], "--policy", "margin=two"])
    assert found.exit_code == Exit.INPUT
    assert "margin must be a whole number from 1, not 'two'" in found.stderr
