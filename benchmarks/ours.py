"""Manyhands as cases."""

from __future__ import annotations

import json
import secrets
import statistics
import time
from pathlib import Path
from shutil import rmtree
from typing import Any

from benchmarks import installation as installations
from benchmarks.children import BIN, CaseError, finish, memory
from benchmarks.context import Context, Figures
from benchmarks.tasks import texts

#: Seconds between looks at the memory.
LOOK = 0.25
#: Of the tasks: memory is flat when it is the same before and after this much of the work.
FIRST_PART = 0.2


def suites(context: Context) -> Figures:
    """Suites of 500 through ``manyhands run``."""
    return {"tasks_per_second": _run(context, context.sizes.tasks, 500)}


def singles(context: Context) -> Figures:
    """Suites of 1 through ``manyhands run``: a message a task."""
    return {"messages_per_second": _run(context, context.sizes.singles, 1)}


def apart(context: Context) -> Figures:
    """Suites of 500 through three processes, from opening the job over HTTP to the last byte of its answers."""
    return _apart(context, 500, context.sizes.tasks, "tasks_per_second")


def singles_apart(context: Context) -> Figures:
    """Suites of 1 through three processes."""
    return _apart(context, 1, context.sizes.singles, "messages_per_second")


def latency(context: Context) -> Figures:
    """One task at a time into an open job: from sending it to having its answer."""
    taken = []
    with installations.installation(context) as there:
        name = there.open(installations.job("bench-latency", suite=100))
        for position, text in enumerate(texts(context.sizes.latency + 20)):
            begun = time.perf_counter()
            there.producer.ask("POST", f"/api/jobs/{name}/tasks", {"tasks": [{"payload": text}]})
            path = f"/api/jobs/{name}/answers?after={position - 1}&wait=30"
            answers = _known(there, path)["answers"]
            taken.append(time.perf_counter() - begun)
            if [answer["position"] for answer in answers] != [position]:
                raise CaseError(f"the answer of task {position} did not come: {answers}")
        there.producer.ask("POST", f"/api/jobs/{name}/seal")
        _checked(installations.until_ended(there, name, 30), len(taken))
    taken = sorted(taken[20:])  # the first ones open connections and load the handler
    return {
        "median_ms": statistics.median(taken) * 1000,
        "p95_ms": taken[int(len(taken) * 0.95) - 1] * 1000,
    }


def flat(context: Context) -> Figures:
    """The memory of producer and aggregator while millions of tasks pass, the export among it."""
    count = context.sizes.memory
    source = context.source(count)
    with installations.installation(context) as there:
        watched = {"producer": there.producer.pid, "aggregator": there.aggregator.pid}
        begun = time.perf_counter()
        name = there.open(installations.job("bench-memory", suite=500, source=source))
        early: Figures = {}
        while not (said := there.progress(name)) or said["state"] == "open":
            if said and not early and said["answered"] >= count * FIRST_PART:
                early = {f"{service}_mib_at_20_percent": memory(pid)[0] for service, pid in watched.items()}
            if time.perf_counter() - begun > 900:
                raise CaseError(f"{name} did not end in 900 s: {said}")
            time.sleep(LOOK)
        _checked(said, count)
        late = {f"{service}_mib_at_end": memory(pid)[0] for service, pid in watched.items()}
        _export(there, name, context.folder / "answers.csv", count)
        seconds = time.perf_counter() - begun
        most = {f"{service}_mib_at_most": memory(pid)[1] for service, pid in watched.items()}
    return most | early | late | {"tasks_per_second": count / seconds}


def _run(context: Context, count: int, suite: int) -> float:
    namespace = f"bench-{secrets.token_hex(4)}"
    out = context.folder / namespace
    out.mkdir()
    file = out / "job.yaml"  # JSON is YAML
    file.write_text(json.dumps(installations.job("bench", suite=suite, source=context.source(count))))
    command = [
        str(BIN / "manyhands"), "run", str(file), "--handlers", str(installations.HANDLERS),
        "--broker", context.broker, "--out", str(out), "--quiet",
    ]  # fmt: skip
    try:
        finish(command, env={"MANYHANDS_NAMESPACE": namespace})
        summary = json.loads((out / "summary.json").read_text())
        _checked(summary, count)
        _all_there(out / "answers.csv", count)
        return float(summary["tasks_per_second"])
    finally:
        installations.remove(context, namespace)
        rmtree(out, ignore_errors=True)


def _apart(context: Context, suite: int, count: int, figure: str) -> Figures:
    source = context.source(count)
    with installations.installation(context) as there:
        begun = time.perf_counter()
        name = there.open(installations.job("bench", suite=suite, source=source))
        _checked(installations.until_ended(there, name, 300), count)
        _export(there, name, context.folder / "answers.csv", count)
        return {figure: count / (time.perf_counter() - begun)}


def _export(there: installations.Installation, name: str, target: Path, count: int) -> None:
    there.aggregator.fetch(f"/api/jobs/{name}/answers.csv", target)
    _all_there(target, count)


def _all_there(answers: Path, count: int) -> None:
    with answers.open("rb") as file:
        rows = sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b"")) - 1
    if rows != count:
        raise CaseError(f"{answers} has {rows:,} answers of {count:,}")


def _known(there: installations.Installation, path: str) -> Any:
    """Ask the aggregator, and again while it has not heard of the job."""
    deadline = time.monotonic() + 10
    while True:
        try:
            return there.aggregator.ask("GET", path)
        except CaseError as error:
            if ": 404 " not in str(error) or time.monotonic() > deadline:
                raise


def _checked(said: dict[str, Any], count: int) -> None:
    """A figure counts only for a job that has every answer."""
    if said["state"] != "complete" or said["answered"] != count or not said["conserved"]:
        raise CaseError(f"the job did not come through whole: {said}")
