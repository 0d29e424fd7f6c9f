"""What a job takes, computed from counts and a pilot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from manyhands.errors import HandlerError
from manyhands.spec import JobSpec, load, parse
from manyhands_cli import jobfile
from manyhands_cli.exits import Exit
from manyhands_cli.foretell import Counted, Pilot, count, foretell, pilot
from manyhands_cli.installation import Installation, Wanted
from manyhands_cli.main import app
from manyhands_cli.parts import Here
from manyhands_worker.service import Worker


def job(suite: int = 10, **judge: Any) -> JobSpec:
    """A job with one judge."""
    stages = [{"judges": [{"judge": "j", **judge}]}]
    return parse({"name": "n", "answer": {"type": "text"}, "stages": stages, "suite": suite}, file="job.yaml")


def took(load_seconds: float = 0.0, seconds_per_task: float = 0.0) -> list[Pilot]:
    """A pilot of the one judge."""
    return [Pilot(judge="j", load_seconds=load_seconds, seconds_per_task=seconds_per_task, tasks=5, failed=1)]


def test_counts_times_and_costs() -> None:
    """Models load once a child, the work is shared, refused rows cost nothing."""
    said = foretell(job(judgments=2, price=0.5), Counted(105, 5, ()), took(3.0, 0.1), 4)
    assert (said["tasks"], said["refused"], said["suites"], said["messages"]) == (105, 5, 10, 20)
    assert said["judgments"] == 200
    assert said["seconds"] == 3.0 + 100 * 2 * 0.1 / 4
    assert said["cost"] == 100.0
    assert said["judges"][0]["pilot_failed"] == 1


@given(st.integers(0, 10_000), st.integers(1, 500), st.integers(1, 5), st.integers(1, 64))
def test_more_children_never_take_longer(tasks: int, suite: int, judgments: int, children: int) -> None:
    """Suites hold every task, the last perhaps fewer; another child does not slow the job down."""
    spec, counted, pilots = job(suite, judgments=judgments), Counted(tasks, 0, ()), took(0.5, 0.01)
    said = foretell(spec, counted, pilots, children)
    assert (said["suites"] - 1) * suite < tasks <= said["suites"] * suite
    assert said["messages"] == said["suites"] * judgments
    assert foretell(spec, counted, pilots, children + 1)["seconds"] <= said["seconds"]


def test_the_source_is_counted_and_a_pilot_judges_its_first_rows(tmp_path: Path) -> None:
    """Bad rows are counted apart; a handler that fails on a task of the pilot is counted, and does no harm."""
    (tmp_path / "rows.csv").write_text("id,text\na,1\na,2\nb,x\nc,4\n")
    (tmp_path / "judges.py").write_text(
        "from manyhands import judge\n@judge('j')\ndef j(payload):\n    return str(int(payload))\n"
    )
    file = tmp_path / "job.yaml"
    file.write_text(
        json.dumps(
            {
                "name": "n", "answer": {"type": "text"}, "stages": [{"judges": ["j"]}], "handlers": "judges.py",
                "source": {"path": "rows.csv", "id": "id", "input": "text", "on_bad_row": "set-aside"},
            }
        )
    )  # fmt: skip
    spec, heard = load(file), list[int]()
    counted = count(spec, 2, heard.append)
    assert counted.tasks == heard[-1] == 4
    assert (counted.refused, list(counted.sample), counted.stops) == (1, ["1", "x"], None)
    found = pilot(spec, file, None, ["1", "x"])
    assert [(p.judge, p.tasks, p.failed) for p in found] == [("j", 2, 1)]


JUDGE = "from manyhands import judge\n@judge('j')\n"


def job_file(folder: Path, **more: Any) -> Path:
    """A job of one row."""
    (folder / "rows.csv").write_text("text\na\n")
    data = {
        "name": "n", "answer": {"type": "text"}, "stages": [{"judges": ["j"]}], "handlers": "key.py",
        "source": {"path": "rows.csv", "input": "text"}, **more,
    }  # fmt: skip
    file = folder / "job.yaml"
    file.write_text(json.dumps(data))
    return file


@pytest.mark.parametrize("raised", ["raise ValueError('no model')", "import sys; sys.exit('no model')"])
def test_a_judge_that_cannot_be_made_is_named(tmp_path: Path, raised: str) -> None:
    """One sentence, as for handlers that cannot be loaded."""
    (tmp_path / "key.py").write_text(
        f"{JUDGE}class J:\n    def __init__(self): {raised}\n    def __call__(self, payload): return payload\n"
    )
    file = job_file(tmp_path)
    with pytest.raises(HandlerError, match=r"the judge j could not be made: .*: no model"):
        pilot(load(file), file, None, ["a"])
    done = CliRunner().invoke(app, ["plan", str(file), "--json"])
    assert done.exit_code == Exit.INPUT
    assert done.stderr.count("\n") == 1


def test_handlers_take_the_place_of_the_key(tmp_path: Path) -> None:
    """With --handlers the job file's own are not even loaded, in a plan as in a run; its commands are still there."""
    (tmp_path / "key.py").write_text("raise RuntimeError('broken')")
    (tmp_path / "given.py").write_text(f"{JUDGE}def j(payload):\n    return payload\n")
    stages = [{"judges": ["j", "c"]}]
    file, given = job_file(tmp_path, stages=stages, commands={"c": {"command": ["cat"]}}), str(tmp_path / "given.py")
    spec = jobfile.read(file, given)
    assert {p.judge: p.failed for p in pilot(spec, file, given, ["a"])} == {"j": 0, "c": 1}
    wanted = Wanted(broker="memory://", store=f"sqlite:///{tmp_path}/s.db", job_file=file, handlers=given, children=1)
    part = Installation(wanted, spec).parts["worker"]
    assert isinstance(part, Here)
    assert isinstance(part.service, Worker)
    try:
        part.start()
        assert part.service.judges == ("c", "j")
    finally:
        part.stop(5)
    with pytest.raises(HandlerError, match="broken"):
        jobfile.read(file, None)


def test_handlers_of_the_environment_are_for_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a worker's variable names has nothing to do with a plan or a run."""
    monkeypatch.setenv("MANYHANDS_HANDLERS", "nowhere.py")
    (tmp_path / "key.py").write_text(f"{JUDGE}def j(payload):\n    return payload\n")
    file = job_file(tmp_path)
    assert [p.failed for p in pilot(jobfile.read(file, None), file, None, ["a"])] == [0]


def planned(file: Path, *arguments: str) -> tuple[int, dict[str, Any], str]:
    """The exit code of `plan --json`, what it says, and what it says on standard error."""
    done = CliRunner().invoke(app, ["plan", str(file), "--json", "--children", "1", *arguments])
    return done.exit_code, json.loads(done.stdout), done.stderr


def test_a_judge_that_fails_its_whole_pilot_is_told(tmp_path: Path) -> None:
    """Why it failed first, no accuracy, and an exit code; one that fails now and then only is counted."""
    (tmp_path / "key.py").write_text(f"{JUDGE}def j(payload):\n    raise ValueError('no server')\n")
    answer = {"type": "choice", "options": ["a", "b"]}
    file = job_file(tmp_path, answer=answer, gold={"column": "truth"})
    (tmp_path / "rows.csv").write_text("text,truth\na,a\nb,b\n")
    code, said, errors = planned(file)
    assert code == Exit.SHORT
    assert "accuracy" not in said
    assert "accuracy" not in said.get("between", {})
    assert said["judges"][0]["pilot_failed"] == 2
    assert errors == "j failed the whole pilot of 2 tasks, first: error: ValueError: no server\n"


def test_a_source_at_which_a_run_would_stop(tmp_path: Path) -> None:
    """The first bad row and why, ids that come twice being bad, too; not where bad rows are set aside."""
    (tmp_path / "key.py").write_text(f"{JUDGE}def j(payload):\n    return payload\n")
    source = {"path": "rows.csv", "id": "id", "input": "text"}
    file = job_file(tmp_path, source=source)
    (tmp_path / "rows.csv").write_text("id,text\na,1\nb,2\na,3\nb,4\n")
    code, said, errors = planned(file)
    assert (code, said["refused"]) == (Exit.SHORT, 2)
    assert errors.startswith("a run would stop at the first bad row: ")
    assert "the id 'a' was there before; with `on_bad_row: set-aside`" in errors
    assert errors.count("\n") == 1
    file = job_file(tmp_path, source={**source, "on_bad_row": "set-aside"})
    (tmp_path / "rows.csv").write_text("id,text\na,1\nb,2\na,3\nb,4\n")
    code, said, errors = planned(file)
    assert (code, said["refused"], errors) == (Exit.OK, 2, "")


def test_ids_that_come_twice_far_apart_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the blocks end in which a source is read."""
    monkeypatch.setattr("manyhands_cli.foretell.ROWS", 2)
    (tmp_path / "key.py").write_text(f"{JUDGE}def j(payload):\n    return payload\n")
    file = job_file(tmp_path, source={"path": "rows.csv", "id": "id", "input": "text"})
    (tmp_path / "rows.csv").write_text("id,text\n" + "".join(f"{n % 7},{n}\n" for n in range(16)))
    counted = count(load(file), 0, lambda _: None)
    assert (counted.tasks, counted.refused) == (16, 9)
    assert counted.stops is not None
    assert "the id '0' was there before" in counted.stops


def test_a_run_tells_of_a_judge_that_failed_everything(tmp_path: Path) -> None:
    """One line on standard error; the job is complete all the same, by what the others say."""
    (tmp_path / "key.py").write_text(
        f"{JUDGE}def j(payload):\n    return payload\n@judge('k')\ndef k(payload):\n    raise ValueError('no model')\n"
    )
    file = job_file(tmp_path, stages=[{"judges": ["j", "k"]}])
    done = CliRunner().invoke(app, ["run", str(file), "--out", str(tmp_path / "out"), "--quiet", "--children", "1"])
    assert done.exit_code == Exit.OK, done.output
    assert done.stderr.splitlines()[-1] == (
        "k failed all 1 of its judgments, first at position 0: error: ValueError: no model"
    )


def test_near_numbers_are_right_everywhere(tmp_path: Path) -> None:
    """A judge that is off by less than a twentieth of the range: in the plan, the summary, and the report."""
    (tmp_path / "key.py").write_text(f"{JUDGE}def j(payload):\n    return float(payload) + 4.9\n")
    file = job_file(
        tmp_path, answer={"type": "number", "min": 0, "max": 100}, gold={"column": "truth"},
        source={"path": "rows.csv", "input": "n"},
    )  # fmt: skip
    (tmp_path / "rows.csv").write_text("n,truth\n" + "".join(f"{n},{n}\n" for n in range(0, 90, 3)) + "90,10\n")
    code, said, _ = planned(file, "--pilot", "31")
    assert (code, said["accuracy"] > 0.9) == (Exit.OK, True)
    bundle = tmp_path / "bundle"
    arguments = ["--out", str(tmp_path / "out"), "--bundle", str(bundle), "--json", "--children", "1"]
    done = CliRunner().invoke(app, ["run", str(file), *arguments])
    summary = json.loads(done.stdout)
    assert summary["accuracy"] == summary["judges"][0]["accuracy"] == pytest.approx(30 / 31, abs=1e-6)
    assert "96.8 %" in (bundle / "report.html").read_text()
