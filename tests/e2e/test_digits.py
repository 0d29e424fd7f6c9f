"""The digits example, in every way it can be run: the answers are the same, byte for byte."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import httpx
import pytest

from tests.e2e.conftest import DIGITS
from tests.e2e.processes import command, installation
from tests.services import Postgres, RabbitMQ, wait_until

pytestmark = pytest.mark.timeout(300)


def summary_of(out: Path) -> dict[str, object]:
    """The summary of a run."""
    said: dict[str, object] = json.loads((out / "summary.json").read_text())
    return said


def test_embedded_run_answers_every_image(embedded_digits: Path) -> None:
    """Nothing but the command: 1,797 answers in source order, at least 97 % of them right, all accounted for."""
    rows = list(csv.DictReader((embedded_digits / "answers.csv").open()))
    assert list(rows[0]) == ["id", "answer", "confidence", "judgments"]
    source = [json.loads(line)["id"] for line in (DIGITS.parent / "digits.jsonl").open()]
    assert [row["id"] for row in rows] == source
    said = summary_of(embedded_digits)
    assert said["tasks"] == said["answered"] == 1797
    assert said["judgments"] == 3 * 1797
    assert said["conserved"] is True
    assert said["state"] == "complete"
    assert isinstance(said["accuracy"], float)
    assert said["accuracy"] >= 0.97


def test_a_bundle_of_a_run_gives_the_answers_again(embedded_digits: Path, tmp_path: Path) -> None:
    """From its folder, without any service; a file that was changed is named."""
    folder = tmp_path / "bundle"
    done = command("results", str(embedded_digits), "--bundle", str(folder))
    assert done.returncode == 0, done.stderr
    for file in folder.iterdir():
        assert file.read_bytes() == (embedded_digits.with_name("bundle") / file.name).read_bytes()  # which `run` wrote
    assert (folder / "answers.csv").read_bytes() == (embedded_digits / "answers.csv").read_bytes()
    again = command("reaggregate", str(folder), "--json")
    said = json.loads(again.stdout)
    assert (again.returncode, said["identical"], said["tasks"], said["different"]) == (0, True, 1797, 0)
    assert Path(said["file"]).read_bytes() == (embedded_digits / "answers.csv").read_bytes()

    judgments = folder / "judgments.jsonl"
    judgments.write_bytes(judgments.read_bytes().replace(b'"value":"3"', b'"value":"8"', 1))
    tampered = command("reaggregate", str(folder))
    assert tampered.returncode == 1
    assert tampered.stdout.startswith("judgments.jsonl is not what was written")


def test_audit_of_a_finished_run_balances(embedded_digits: Path) -> None:
    """`manyhands audit` of an output folder reads the run's own stores and balances."""
    done = command("audit", str(embedded_digits), "--json")
    assert done.returncode == 0, done.stderr
    account = json.loads(done.stdout)
    assert account["conserved"] is True
    assert account["answered"] == account["tasks"] == 1797


def test_run_on_rabbitmq_and_postgresql(
    embedded_digits: Path, rabbitmq: RabbitMQ, postgres: Postgres, tmp_path: Path
) -> None:
    """With a real broker and a real database the same command gives the same bytes."""
    store = postgres.database()
    done = command("run", str(DIGITS), "--broker", rabbitmq.url, "--store", store, "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "answers.csv").read_bytes() == (embedded_digits / "answers.csv").read_bytes()
    said = summary_of(tmp_path)
    assert said["conserved"] is True
    audited = command("audit", str(said["job"]), "--store", store, "--json")
    assert audited.returncode == 0, audited.stdout + audited.stderr


def test_processes_by_hand(
    embedded_digits: Path, rabbitmq: RabbitMQ, postgres: Postgres, namespace: str, tmp_path: Path
) -> None:
    """Producer, aggregator and three workers as processes; submit, watch, results: the same bytes."""
    worker = ("--config", str(DIGITS))
    with installation(rabbitmq.url, postgres.database(), namespace, worker) as running:
        submitted = running.command("submit", str(DIGITS))
        assert submitted.returncode == 0, submitted.stderr
        job = submitted.stdout.strip()
        watched = running.command("watch", job)
        assert watched.returncode == 0, watched.stderr
        out = tmp_path / "answers.csv"
        fetched = running.command("results", job, "--out", str(out))
        assert fetched.returncode == 0, fetched.stderr
        assert out.read_bytes() == (embedded_digits / "answers.csv").read_bytes()
        assert running.json("audit", job)["conserved"] is True
        assert running.json("status", job)["state"] == "complete"


def test_a_killed_worker_changes_nothing(
    embedded_digits: Path, rabbitmq: RabbitMQ, namespace: str, tmp_path: Path
) -> None:
    """One of three workers is killed with -9 while it works: the answers are the same bytes."""
    worker = ("--config", str(DIGITS))
    with installation(rabbitmq.url, f"sqlite:///{tmp_path / 'm.db'}", namespace, worker) as running:
        job = running.command("submit", str(DIGITS)).stdout.strip()
        victim = running.workers[0]

        def working() -> bool:
            metrics = httpx.get(f"{victim.url}/metrics").text
            held = [line for line in metrics.splitlines() if line.startswith("manyhands_in_hand ")]
            return bool(held) and float(held[0].split()[1]) > 0

        wait_until(working, 60, "the worker to have suites in hand", every=0.01)
        victim.kill()
        watched = running.command("watch", job)
        assert watched.returncode == 0, watched.stderr
        fetched = running.command("results", job)
        assert fetched.stdout.encode() == (embedded_digits / "answers.csv").read_bytes()
        account = running.json("audit", job)
        assert account["conserved"] is True
        assert account["answered"] == 1797


@pytest.mark.drill
def test_the_plan_of_three_stages(tmp_path: Path) -> None:
    """What `make demo` runs: most judgments are saved, and the images are read as well as by everybody together.

    Its answers come out of its bundle again, every one of them computed.
    """
    cascade, out, bundle = DIGITS.with_name("cascade.yaml"), tmp_path / "out", tmp_path / "bundle"
    done = command("run", str(cascade), "--out", str(out), "--bundle", str(bundle), "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["judgments"] < 0.5 * 5 * 1797
    assert [stage["stage"] for stage in said["stages"]] == [0, 1, 2]
    assert sum(stage["answers"] for stage in said["stages"]) == 1797
    assert said["stages"][2]["answers"] >= 1  # what the models differ on, and nothing else decides
    labels = [json.loads(line)["label"] for line in (DIGITS.parent / "digits.jsonl").open()]
    answers = [row["answer"] for row in csv.DictReader((out / "answers.csv").open())]
    assert sum(map(str.__eq__, answers, labels)) >= 0.985 * 1797
    again = command("reaggregate", str(bundle), "--json")
    computed = json.loads(again.stdout)
    assert (again.returncode, computed["identical"], computed["tasks"]) == (0, True, 1797), computed
    assert (bundle / "answers.csv").read_bytes() == (out / "answers.csv").read_bytes()
