"""The disk is full."""

import contextlib
import csv
import json
import sqlite3
from pathlib import Path

import pytest

from tests.e2e.processes import Process, command
from tests.fault.disk import Quota, disk
from tests.fault.stage import ANSWERS, FLOWING, PATIENCE, stage, write_job
from tests.services import Postgres, RabbitMQ, wait_until

KEEPERS = ("producer", "aggregator")


def test_disk_full(rabbitmq: RabbitMQ, namespace: str, tmp_path: Path) -> None:
    """The services say so, are not ready and keep what they hold unacked; when there is room the job completes."""
    with (
        disk(tmp_path / "disk") as small,
        stage(tmp_path, rabbitmq.url, f"sqlite:///{small.folder / 'm.db'}", namespace) as running,
    ):
        running.start()
        running.ready()
        pids = [running.processes[service].pid for service in KEEPERS]
        job = running.submit()
        running.reaches(job, FLOWING)
        small.fill(*pids)
        running.misses("store", "aggregator")
        assert "disk" in running.missing("aggregator")["store"]
        assert "disk" in running.said("aggregator", "The store cannot be reached")["error"]
        assert running.metric("aggregator", "manyhands_in_hand") > 0
        refused = running.try_command("submit", str(running.job_file))
        assert refused.returncode != 0
        assert "disk" in refused.stderr
        assert len(refused.stderr.splitlines()) == 1
        running.misses("store", "producer")
        assert running.metric("aggregator", "manyhands_in_hand") > 0
        small.free(*pids)
        running.ready()
        running.completes(job)
        for service in KEEPERS:
            with sqlite3.connect(small.folder / f"m-{service}.db") as store:
                assert store.execute("pragma integrity_check").fetchall() == [("ok",)]


@pytest.mark.drill
def test_disk_full_at_start(rabbitmq: RabbitMQ, namespace: str, tmp_path: Path) -> None:
    """Started on a full disk, producer and aggregator say so and wait; when there is room a job completes."""
    with (
        disk(tmp_path / "disk") as small,
        stage(tmp_path, rabbitmq.url, f"sqlite:///{small.folder / 'm.db'}", namespace) as running,
    ):
        small.fill()
        running.start()
        for service in KEEPERS:
            assert "disk" in running.said(service, "waiting for the store")["error"]
            assert "disk" in running.missing(service)["store"]
        small.free(*(process.pid for process in running.processes.values()))
        running.ready()
        running.completes(running.submit())


def test_run_on_a_full_disk(tmp_path: Path) -> None:
    """`run` says it in one sentence, with an exit code, and leaves no answers; with room the same command completes."""
    job = write_job(tmp_path)
    with disk(tmp_path / "disk") as small:
        small.fill()
        ended_for_want_of_room(run(job, small.folder / "out"), small.folder / "out")
        small.free()
        (tmp_path / "gate").touch()
        completes(run(job, small.folder / "out"), small.folder / "out")


def test_the_disk_fills_up_while_a_job_runs(tmp_path: Path) -> None:
    """`run` ends as on a disk that was full before; with room the same command goes on with the job."""
    job = write_job(tmp_path)
    with disk(tmp_path / "disk") as small:
        out = small.folder / "out"
        process = Process("run", str(job), "--out", str(out), "--children", "2", env={})
        try:
            wait_until(lambda: answered(out) >= FLOWING, PATIENCE, "the job to be in full flow")
            small.fill(process.pid)
            code = process.ends()
        finally:
            process.kill()
        first = json.loads((out / "run.json").read_text())["job"]
        ended_for_want_of_room((code, "".join(process.log)), out)
        small.free()
        (tmp_path / "gate").touch()
        completes(run(job, out), out)
        assert json.loads((out / "summary.json").read_text())["job"] == first


@pytest.mark.drill
def test_no_room_for_the_answers(postgres: Postgres, tmp_path: Path) -> None:
    """There is too little room for answers.csv: nothing of it is there, and with room the same command writes it."""
    job, store = write_job(tmp_path), postgres.database()
    (tmp_path / "gate").touch()
    with disk(tmp_path / "disk", 12) as small:
        out = small.folder / "out"
        if isinstance(small, Quota):
            small.fill()
        said = run(job, out, "--store", store)
        small.free()
        ended_for_want_of_room(said, out)
        completes(run(job, out, "--store", store), out, "--store", store)


def run(job: Path, out: Path, *options: str) -> tuple[int, str]:
    """Run the job: exit code, and what was said."""
    done = command("run", str(job), "--out", str(out), "--children", "2", *options, timeout=2 * PATIENCE)
    return done.returncode, done.stderr


def answered(out: Path) -> int:
    """How many tasks of a run that is under way are answered."""
    file = out / "manyhands-aggregator.db"
    if not file.exists():
        return 0
    with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as store:
        try:
            return int(store.execute("select coalesce(sum(answered), 0) from aggregator_jobs").fetchone()[0])
        except sqlite3.OperationalError:  # it is not made yet
            return 0


def ended_for_want_of_room(said: tuple[int, str], out: Path) -> None:
    """The exit code and the one sentence of a full disk, and no half of an answer."""
    code, stderr = said
    assert code == 6, stderr
    assert "Traceback" not in stderr
    (sentence,) = (line for line in stderr.splitlines() if line.startswith("manyhands: "))
    assert any(words in sentence for words in ("disk", "No space left on device", "File too large")), sentence
    assert not [file.name for file in out.glob("*") if file.name.startswith(("answers", ".answers", "summary"))]


def completes(said: tuple[int, str], out: Path, *options: str) -> None:
    """All answers are there, and the audit balances."""
    assert said[0] == 0, said[1]
    with (out / "answers.csv").open() as file:
        assert [(row["id"], float(row["answer"]), row["judgments"]) for row in csv.DictReader(file)] == ANSWERS
    assert json.loads((out / "summary.json").read_text())["conserved"] is True
    audited = command("audit", str(out), "--json", *options)
    assert audited.returncode == 0, audited.stdout + audited.stderr
