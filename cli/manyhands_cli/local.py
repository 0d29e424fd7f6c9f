"""Commands that need nothing but this machine: run a job from end to end, and foretell what it takes."""

from __future__ import annotations

import json
import os
import secrets
import signal
import threading
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from manyhands import logs
from manyhands import spec as specs
from manyhands.errors import SpecError, UnknownJob
from manyhands_cli import show
from manyhands_cli.exits import Exit
from manyhands_cli.options import AsJson, JobFile

#: Seconds between looks at the job.
LOOK = 0.1

Handlers = Annotated[
    str | None,
    typer.Option(
        metavar="MODULE", help="Module or .py file with the handlers; else the job file's.", show_default=False
    ),
]


def run(
    job: JobFile,
    handlers: Handlers = None,
    broker: Annotated[
        str, typer.Option(metavar="URL", help="A broker, such as amqp://user:password@host/; embedded by default.")
    ] = "memory://",
    store: Annotated[
        str | None,
        typer.Option(metavar="URL", help="A store; SQLite files in the output folder by default.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Output folder; out/<name> by default.", show_default=False)
    ] = None,
    children: Annotated[
        int | None, typer.Option(help="Child processes that run handlers; default: one a core.", show_default=False)
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    json_: AsJson = False,
) -> None:
    """Run a job from end to end: producer, worker and aggregator in one go.

    Writes answers.csv (id, answer, confidence, judgments; source order) and summary.json to the output folder, and
    failed.csv where tasks failed. Stopped half-way, the same command goes on where it stopped.
    """
    from manyhands_cli.folder import Folder
    from manyhands_cli.installation import Installation, Wanted
    from manyhands_producer.sources import check_source

    logs.configure("run", level="warning", format="text")
    spec = specs.load(job)
    check_judges(job, spec, handlers)
    check_source(spec)
    folder = Folder(out or Path("out") / spec.name)
    store = store or folder.own_store
    wanted = Wanted(broker=broker, store=store, job_file=job, handlers=handlers, children=children)
    name = folder.unfinished(spec, store)
    resumed = name is not None
    if name is None:
        name = f"{spec.name}-{secrets.token_hex(4)}"
        folder.begin(name, spec, store)
    installation = Installation(wanted, spec)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    installation.start()
    ended = False
    try:
        with show.JobProgress(spec.name, quiet=quiet) as progress:
            if resumed:
                progress.note(f"going on with {name}")
            installation.until_ready(progress.note, stop)
            started = time.perf_counter()
            if not stop.is_set():
                installation.producer.submit(spec, job=name)
            ended = _follow(installation, name, progress, stop)
            if ended:
                summary = _write(installation, spec, name, folder, started)
                folder.end()
    finally:
        installation.stop(remove=ended)
    if not ended:
        show.NOTES.print("stopped; the same command goes on where it stopped")
        raise typer.Exit(Exit.INTERRUPTED)
    _say(summary, folder.path, json_)
    raise typer.Exit(Exit.OK if summary["state"] == "complete" else Exit.SHORT)


def _follow(installation: Any, job: str, progress: show.JobProgress, stop: threading.Event) -> bool:
    """Show progress until the job has ended; False when stopped before."""
    started = time.monotonic()
    while not stop.is_set():
        try:
            said = installation.aggregator.progress(job)
        except UnknownJob:
            stop.wait(LOOK)  # its first event is still on its way
            continue
        progress.update(said, installation.producer.status(job), time.monotonic() - started)
        if said["state"] != "open":
            return True
        stop.wait(LOOK)
    return False


def _write(installation: Any, spec: specs.JobSpec, job: str, folder: Any, started: float) -> dict[str, Any]:
    from manyhands_aggregator import export
    from manyhands_cli.balance import balance
    from manyhands_cli.remote import write_whole

    aggregator = installation.aggregator
    write_whole(folder.path / "answers.csv", export.csv_blocks(aggregator.answers(job)))
    seconds = time.perf_counter() - started
    said = aggregator.progress(job)
    failed = folder.path / "failed.csv"
    if said["failed"] or said["cancelled"]:
        write_whole(failed, export.failed_blocks(aggregator.answers(job)))
    else:
        failed.unlink(missing_ok=True)
    account = balance(installation.producer.audit(job), aggregator.audit(job))
    keys = ("job", "name", "state", "tasks", "answered", "failed", "cancelled", "judgments")
    summary: dict[str, Any] = {key: said[key] for key in keys}
    summary |= {
        "seconds": round(seconds, 3),
        "tasks_per_second": round(said["tasks"] / seconds, 1),
        "conserved": account["conserved"],
        "method": spec.decide_by,
        "broker": installation.broker.version,
    }
    summary |= {key: said[key] for key in ("accuracy", "gold", "reason") if key in said}
    summary["judges"] = aggregator.judges(job)
    write_whole(folder.path / "summary.json", [json.dumps(summary, indent=2).encode() + b"\n"])
    return summary


def _say(summary: dict[str, Any], folder: Path, json_: bool) -> None:
    if json_:
        show.as_json(summary)
        return
    judges = summary["judges"]
    show.pairs({key: value for key, value in summary.items() if key != "judges"})
    show.OUT.print()
    show.table(judges, ("judge", "judgments", "errors", "agreement", "accuracy", "seconds_per_task"))
    show.OUT.print(f"\nanswers are in {folder / 'answers.csv'}")


def check_judges(file: Path, spec: specs.JobSpec, handlers: str | None) -> None:
    """Every judge of the plan must be a handler, a command or a URL.

    Raises:
        HandlerError: the handlers cannot be loaded.
        SpecError: names the judge that is missing, its line, and the judges there are.
    """
    from manyhands.handlers import load

    reference = handlers or spec.handlers
    known = {*(load(reference) if reference else ()), *spec.commands, *spec.http}
    for judge in spec.judges:
        if judge.judge not in known:
            line = next((n for n, text in enumerate(file.read_text().splitlines(), 1) if judge.judge in text), 1)
            there = ", ".join(sorted(known)) or "none; give --handlers or the key handlers"
            raise SpecError(f"{file}:{line}: stages.0.judges: no handler is called {judge.judge!r}; there are: {there}")


def plan(
    job: JobFile,
    handlers: Handlers = None,
    pilot: Annotated[int, typer.Option(min=1, help="Tasks that every judge tries, to see how long it takes.")] = 20,
    children: Annotated[
        int, typer.Option(min=1, help="Child processes that will share the work, over all workers.")
    ] = os.cpu_count() or 1,
    json_: AsJson = False,
) -> None:
    """Foretell what a job takes before it is run: tasks, suites, judgments, time, cost.

    Counts the source and lets every judge try a few tasks. Nothing is published or kept.
    """
    from manyhands_cli import foretell

    spec = specs.load(job)
    check_judges(job, spec, handlers)
    with show.JobProgress(f"counting {spec.name}", quiet=json_) as progress:
        counted = foretell.count(spec, pilot, lambda tasks: progress.note(f"{tasks:,} tasks"))
    pilots = foretell.pilot(spec, job, handlers, counted.sample)
    said = foretell.foretell(spec, counted, pilots, children)
    if json_:
        show.as_json(said)
        return
    judges = said.pop("judges")
    show.pairs({**said, "seconds": show.duration(said["seconds"])})
    show.OUT.print()
    show.table(judges, ("judge", "judgments", "load_seconds", "seconds_per_task", "price", "pilot_failed"))
