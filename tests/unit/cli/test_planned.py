"""Plans foretold from pilots and earlier jobs, kept on file, and compared with what came."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from manyhands.spec import load
from manyhands_aggregator.hindsight import compare
from manyhands_cli import planned
from manyhands_cli.client import Client
from manyhands_cli.exits import Exit
from manyhands_cli.main import app
from manyhands_cli.planned import NoPlan
from manyhands_cli.recall import NoRecord, recall
from tests.unit.aggregator.kit import Job
from tests.unit.cli.bundles import Shelf

#: Of every ten numbers the first judge takes one for odd that is not; people know better.
JUDGES = """
from manyhands import Judgment, judge
from manyhands.handlers import asked

@judge("one")
def one(payload):
    return Judgment("odd" if int(payload) % 2 or int(payload) % 10 == 0 else "even", 0.9)

@judge("two")
def two(payload):
    return "odd" if int(payload) % 2 else "even"

@judge("people")
def people(payload):
    return Judgment(two(payload), worker=f"p{(int(payload) + asked().slot) % 7}")
"""
STAGES = [
    {"judges": ["one", "two"], "accept": {"agree": 2}},
    {"judges": [{"judge": "people", "judgments": 2, "price": 0.5}], "accept": {"margin": 2, "at_most": 3}},
]


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No handlers of other tests, and fewer rehearsals than people wait for."""
    monkeypatch.setattr("manyhands_aggregator.forecast.IN_ALL", 1600)
    monkeypatch.setattr("manyhands.handlers._registry", {})


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """Two hundred numbers, a cascade, and the truth in a column."""
    rows = "".join(f"{n},{'odd' if n % 2 else 'even'}\n" for n in range(200))
    (tmp_path / "rows.csv").write_text(f"n,truth\n{rows}")
    (tmp_path / "judges.py").write_text(JUDGES)
    file = tmp_path / "job.yaml"
    spec = {
        "name": "parity", "answer": {"type": "choice", "options": ["odd", "even"]}, "stages": STAGES, "suite": 20,
        "source": {"path": "rows.csv", "input": "n"}, "gold": {"column": "truth"}, "handlers": "judges.py",
    }  # fmt: skip
    file.write_text(json.dumps(spec))
    return file


def plan(*arguments: object) -> dict[str, Any]:
    """What `manyhands plan --json` says."""
    done = CliRunner().invoke(app, ["plan", *map(str, arguments), "--json", "--children", "1"])
    assert done.exit_code == 0, done.output
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def test_a_pilot_asks_every_judge_of_every_stage(job: Path) -> None:
    """A tenth of the numbers, on which the machines differ, goes on to people; figures come with intervals."""
    said = plan(job, "--pilot", 200)
    assert said["rests_on"] == "a pilot of 200 of 200 tasks"
    assert (said["stages"][0]["tasks"], said["stages"][0]["judgments"]) == (200, 400)
    assert 170 <= said["stages"][0]["answers"] <= 190
    low, high = said["between"]["judgments"]
    assert low <= said["judgments"] <= high
    assert 400 < said["judgments"] < 500
    assert said["cost"] == pytest.approx((said["judgments"] - 400) * 0.5, abs=0.5)
    assert said["accuracy"] > 0.98
    assert [(j["judge"], j["pilot_tasks"], j["pilot_failed"]) for j in said["judges"]] == [
        ("one", 200, 0), ("two", 200, 0), ("people", 200, 0),
    ]  # fmt: skip
    assert said["assumed"] == []


def test_people_may_be_stated_instead_of_asked(job: Path) -> None:
    """A judge of --skill need not be there; what is assumed of it is said."""
    job.write_text(job.read_text().replace('"judges.py"', '"machines.py"'))
    job.with_name("machines.py").write_text(JUDGES.partition('@judge("people")')[0])
    refused = CliRunner().invoke(app, ["plan", str(job)])
    assert refused.exit_code == Exit.INPUT
    said = plan(job, "--pilot", 100, "--skill", "people=0.9")
    assert said["assumed"][0].startswith("people is right in 90% of its judgments")
    assert "there are 20 people, all alike" in said["assumed"]
    assert said["judges"][2]["pilot_tasks"] == 0
    assert said["stages"][1]["judgments"] > 0
    everything = ["--skill", "one=0.9", "--skill", "two=0.9", "--skill", "people=0.9"]
    said = plan(job, *everything)
    assert said["rests_on"] == "stated skills alone"
    assert 0.8 < said["accuracy"] < 1
    for wrong in (
        ["--skill", "one"],
        ["--skill", "one=2"],
        [*everything, "--pilot", "5"],
        ["--from", "x", "--pilot", "5"],
    ):
        assert CliRunner().invoke(app, ["plan", str(job), *wrong]).exit_code == Exit.USAGE


def test_judges_may_be_as_good_as_their_reputation(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What they have shown in jobs with answers of this type; of people the mean; who has none is named."""
    rows: list[dict[str, Any]] = [
        {"worker": "one", "kind": "machine", "accuracy": 0.9, "compared": 50},
        {"worker": "people/one", "kind": "person", "accuracy": 0.5, "compared": 100},
        {"worker": "people/ann", "kind": "person", "accuracy": 0.8, "compared": 300},
        {"worker": "people/new", "kind": "person", "accuracy": None, "compared": 0},
    ]

    def call(_: Client, method: str, path: str, params: dict[str, str]) -> Any:
        assert (method, path, params.pop("type")) == ("GET", "/api/reputations", "choice")
        after, worker = params.pop("after"), params.pop("worker", None)
        found = [row for row in rows if worker is None or row["worker"].rpartition("/")[2] == worker]
        pages = {"": {"reputations": found[:2], "next": "x"}, "x": {"reputations": found[2:], "next": None}}
        return pages[after]

    monkeypatch.setattr(Client, "call", call)
    said = plan(job, "--pilot", 20, "--skill", "one=reputation", "--skill", "people=reputation")
    assert said["assumed"][:2] == [
        f"{judge} is right in {share}% of its judgments (its reputation), whatever the others say, and states no "
        "confidence"
        for judge, share in (("one", 90), ("people", 72))
    ]
    alone = [option for judge in ("one", "two", "people") for option in ("--skill", f"{judge}=reputation")]
    refused = CliRunner().invoke(app, ["plan", str(job), *alone])
    assert refused.exit_code == Exit.INPUT
    assert "two has none for answers of the type choice" in refused.stderr
    stated = plan(job, "--skill", "one=reputation", "--skill", "two=0.9", "--skill", "people=reputation")
    assert stated["rests_on"] == "stated skills alone"


def test_the_summary_says_how_right_the_plan_was(job: Path, tmp_path: Path) -> None:
    """Kept with -o, told to run: judgments, cost, seconds, accuracy, and the differences; then itself planned from."""
    file, out = tmp_path / "plan.json", tmp_path / "out"
    said = plan(job, "--pilot", 200, "-o", file)
    bundle = tmp_path / "bundle"
    more = ["--plan", str(file), "--bundle", str(bundle), "--json"]
    done = CliRunner().invoke(app, ["run", str(job), "--out", str(out), *more])
    assert done.exit_code == 0, done.output
    summary = json.loads(done.stdout)
    rows = {row["figure"]: row for row in summary["planned"]}
    assert list(rows) == ["judgments", "cost", "seconds", "accuracy"]
    assert rows["judgments"]["planned"] == said["judgments"]
    assert rows["judgments"]["actual"] == summary["judgments"]
    assert rows["cost"]["actual"] == summary["spent"]
    assert abs(rows["judgments"]["difference"]) <= 10
    assert abs(rows["accuracy"]["difference"]) <= 10
    in_bundle = json.loads((bundle / "bundle.json").read_text())["planned"]
    assert [row | {"actual": 0, "difference": 0} for row in in_bundle] == [
        row | {"actual": 0, "difference": 0} for row in summary["planned"]
    ]
    assert in_bundle[:2] == summary["planned"][:2]
    report = (bundle / "report.html").read_text()
    assert "How right the plan was" in report
    assert f"{rows['judgments']['difference']:+.1f} %" in report
    again = plan(job, "--from", out)
    assert again["rests_on"] == f"200 tasks of {out}"
    assert again["judgments"] == pytest.approx(summary["judgments"], rel=0.1)
    (out / "manyhands-aggregator.db").unlink()
    rough = plan(job, "--from", out / "summary.json")
    assert rough["rests_on"] == f"the summary {out / 'summary.json'}"
    assert "one is right in 90% of its judgments, whatever the others say, and states no confidence" in rough["assumed"]


def test_a_budget_that_pays_for_nothing_is_foretold_and_said(job: Path, tmp_path: Path) -> None:
    """No judgment is planned, none is made, and the run ends with every task refused."""
    spec = json.loads(job.read_text())
    spec["stages"] = [{"judges": [{"judge": "one", "price": 0.5}], "accept": {"confidence": 0.9}}, *STAGES[1:]]
    job.write_text(json.dumps({**spec, "budget": 0.4}))
    file, out = tmp_path / "plan.json", tmp_path / "out"
    said = plan(job, "--pilot", 20, "-o", file)
    assert (said["judgments"], said["cost"], said["pays_for_tasks"]) == (0, 0, 0)
    done = CliRunner().invoke(app, ["run", str(job), "--out", str(out), "--plan", str(file), "--json"])
    assert done.exit_code == Exit.SHORT, done.output
    summary = json.loads(done.stdout)
    assert (summary["failed"], summary["judgments"], summary["spent"], summary["reason"]) == (200, 0, 0, "budget")
    assert "saved" not in summary
    job.with_name("rows.csv").write_text("n,truth\n")
    assert "there are no tasks in the source" in plan(job, "--pilot", 20)["assumed"][0]


def test_a_plan_is_of_its_job(job: Path, tmp_path: Path) -> None:
    """Another job's plan, or what is no plan, is refused before anything is run."""
    file = tmp_path / "plan.json"
    with pytest.raises(NoPlan, match="cannot be read"):
        planned.read(file)
    file.write_text("{}")
    with pytest.raises(NoPlan, match="format"):
        planned.read(file)
    planned.write(file, load(job), {"judgments": 5})
    assert planned.read(file, load(job))["judgments"] == 5
    rows = [{"judge": judge} for judge in load(job).judge_names]
    assert planned.fitting({"judges": rows}, load(job)) == {"judges": rows}
    with pytest.raises(NoPlan, match="a job of the judges somebody; those of this one are one"):
        planned.fitting({"judges": [{"judge": "somebody"}]}, load(job))
    job.write_text(job.read_text().replace("parity", "other"))
    with pytest.raises(NoPlan, match="another job"):
        planned.read(file, load(job))
    assert CliRunner().invoke(app, ["run", str(job), "--plan", str(file)]).exit_code == Exit.INPUT


def test_figures_are_compared_in_per_cent_of_the_planned() -> None:
    """Confidence stands in for accuracy only where no truth is known."""
    plan: dict[str, Any] = {"judgments": 200, "cost": 0.0, "seconds": 8.0, "accuracy": 0.8, "confidence": 0.9}
    plan |= {"between": {"judgments": [190, 210]}}
    progress = {"judgments": 210, "seconds": 10.0, "accuracy": 0.88, "spent": 1.0}
    rows = compare(plan, planned.actual(progress, []))
    assert [(row["figure"], row["difference"]) for row in rows] == [
        ("judgments", 5.0), ("cost", None), ("seconds", 25.0), ("accuracy", 10.0),
    ]  # fmt: skip
    assert (rows[0]["low"], rows[0]["high"]) == (190, 210)
    del progress["accuracy"]
    assert compare(plan, planned.actual(progress, [0.8, 1.0]))[-1] == {
        "figure": "confidence", "planned": 0.9, "low": None, "high": None, "actual": 0.9, "difference": 0.0,
    }  # fmt: skip


class Api(Client):
    """The API of an aggregator that is this store."""

    def __init__(self, shelf: Shelf, job: Job) -> None:
        self._recorded = shelf.recorded(job)

    def call(self, method: str, path: str, **options: Any) -> Any:  # noqa: ARG002
        """The record."""
        assert path.endswith("/record")
        return self._recorded.facts()

    def stream(self, path: str) -> Iterator[bytes]:
        """A file, in blocks that end anywhere."""
        whole = b"".join(self._recorded.stream(path.rpartition("/")[2]))
        return (whole[at : at + 100] for at in range(0, len(whole), 100))


def test_a_job_on_record_is_a_sample(shelf: Shelf) -> None:
    """The same from its bundle as over the API; who failed first and judged later has judged; the truth is there."""
    stages = [{"judges": ["one", "two"]}]
    job = Job(count=4, size=2, truths=["a", None, "b", "c"], more={"stages": stages})
    shelf.bench.take(*job.news())
    for suite in range(2):
        shelf.bench.take(job.failed(suite, judge="two"))
        shelf.bench.take(job.judged(suite, ["a", "b"], judge="one", confidences=[0.5, None]))
    bundle = shelf.bundle(job)
    nobody = Client("aggregator", "http://127.0.0.1:9", None)
    found = recall(str(bundle.folder), bundle.spec(), nobody)
    assert [task.truth for task in found.tasks] == ["a", None, "b", "c"]
    assert [(one.value, one.confidence) for task in found.tasks for one in task.said["one"]] == [
        ("a", 0.5), ("b", None), ("a", 0.5), ("b", None),
    ]  # fmt: skip
    assert all(one.failure is not None for task in found.tasks for one in task.said["two"])
    assert found.seconds == {"one": 0.5, "two": 0.5}  # a second for each suite of two
    assert recall(job.id, bundle.spec(), Api(shelf, job)) == found
    (shelf.folder / "empty").mkdir()
    with pytest.raises(NoRecord, match="neither"):
        recall(str(shelf.folder / "empty"), bundle.spec(), nobody)
