"""``manyhands run``: a job from end to end."""

from __future__ import annotations

import math
import os
import secrets
import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from manyhands.errors import SettingsError, StoreUnavailable, UnknownJob
from manyhands_cli import show
from manyhands_cli.exits import Exit, refused_by_machine
from manyhands_cli.options import AsJson, Handlers, JobFile

if TYPE_CHECKING:
    from manyhands_cli.installation import Installation
    from manyhands_cli.progress import JobProgress

#: Seconds between looks at the job, and between looks at what the services wait for.
LOOK, CHECK = 0.1, 1.0
#: Seconds that the services may take to start before it is told what they wait for.
STARTING = 5.0
#: Seconds after a job's end in which its producer hears of it.
HEARD = 10.0
#: Seconds for which the connection of a run that was killed may still hold the store.
STAND_BY = 30.0


def run(
    job: JobFile,
    handlers: Handlers = None,
    broker: Annotated[
        str,
        typer.Option(metavar="URL", help="A broker, such as amqp://user:password@host/; memory:// is in this process."),
    ] = "memory://",
    store: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="A store of this run's own, such as postgresql://user:password@host/database. "
            "Default: SQLite files in the output folder.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Output folder. Default: out/ and the job's name.", show_default=False),
    ] = None,
    bundle: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write the result bundle there, too: every judgment, and report.html; see `results`.",
            show_default=False,
        ),
    ] = None,
    plan: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="What `plan -o` foretold: the summary says how right it was.", show_default=False
        ),
    ] = None,
    children: Annotated[
        int | None,
        typer.Option(min=1, help="Child processes that run handlers. Default: one a core.", show_default=False),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    json_: AsJson = False,
) -> None:
    """Run a job from end to end: producer, worker and aggregator in one go.

    Writes answers.csv (id, answer, confidence, judgments; source order) and summary.json to the output folder, and
    failed.csv where tasks failed. The exit code is 0 if every task was answered, 1 if not.

    Stopped half-way (Ctrl-C; twice for at once) the same command goes on where it stopped; after its end, it begins
    afresh.

    Example: manyhands run examples/digits/job.yaml --out out/digits
    """
    from manyhands import logs
    from manyhands_cli import jobfile, planned
    from manyhands_cli.folder import Folder
    from manyhands_cli.installation import Installation, Wanted
    from manyhands_cli.outcome import write
    from manyhands_cli.progress import JobProgress
    from manyhands_producer.sources import check_source

    logs.configure("run", level="warning", format="text")
    spec = jobfile.read(job, handlers)
    foretold = None if plan is None else planned.read(plan, spec)
    check_source(spec)
    if bundle is not None:
        from manyhands_cli import bundle as bundles

        bundles.free(bundle)
    folder = Folder(out or Path("out") / spec.name)
    store = store or folder.own_store
    folder.claim()
    left = folder.unfinished() if store != folder.own_store else None
    resumed = folder.resumable(spec, broker, store)
    name = resumed or f"{spec.name}-{secrets.token_hex(4)}"
    installation = Installation(
        Wanted(broker=broker, store=store, job_file=job, handlers=handlers, children=children), spec
    )
    stop = _on_signals()
    ended = False
    try:
        with JobProgress(spec.name, quiet=quiet or json_) as progress:
            if resumed:
                progress.note(f"going on with {name}")
            if store != folder.own_store:
                installation.take_over(name, left, stop)
            installation.reach()
            if resumed is None:
                folder.begin(name, spec, broker, store)
            installation.start()
            _until_ready(installation, progress, stop)
            began = time.time()
            if not stop.is_set():
                installation.producer.submit(spec, job=name)
            ended = _follow(installation, name, progress, stop)
            if ended:
                summary = write(installation, spec, name, folder.path, None if resumed else began, foretold)
                if bundle is not None:
                    bundles.write(bundles.FromStore(installation.aggregator.store, name), bundle, foretold)
                folder.end()
            else:
                progress.note("stopping; Ctrl-C once more ends it at once")
    finally:
        installation.stop(remove=ended)
    if not ended:
        show.notes().print("stopped; the same command goes on where it stopped")
        raise typer.Exit(Exit.INTERRUPTED)
    _say(summary, folder.path, json_)
    for judge in summary["judges"]:
        if dead(judge):
            show.notes().print(
                f"{judge['judge']} failed all {judge['errors']:,} of its judgments, first at {judge['first_error']}",
                soft_wrap=True,
            )
    if bundle is not None and not json_:
        show.line(f"the report is {bundle / 'report.html'}")
    raise typer.Exit(Exit.OK if summary["state"] == "complete" else Exit.SHORT)


def dead(judge: Mapping[str, Any]) -> bool:
    """Whether a judge failed everything that it was asked."""
    return bool(judge["errors"]) and not judge["judgments"]


def _on_signals() -> threading.Event:
    """Set by the first SIGINT or SIGTERM; the second ends the process at once, which loses no more than a crash."""
    stop = threading.Event()

    def on_signal(_number: int, _frame: object) -> None:
        if stop.is_set():
            os._exit(Exit.INTERRUPTED)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    return stop


def _until_ready(installation: Installation, progress: JobProgress, stop: threading.Event) -> None:
    """Wait until every service can work, saying what is missing.

    Raises:
        StoreUnavailable: it cannot be written, and waiting does not mend it.
        SettingsError: another producer works on the store.
    """
    began = time.monotonic()
    while waiting := installation.waiting():
        waited = time.monotonic() - began
        _refuse(waiting)
        if waited > STARTING:  # that nothing is connected at first is no news
            progress.note(_said(waiting))
        if waited > STAND_BY and list(waiting) == ["producer lead"]:
            raise SettingsError("another producer works on this store; give the run one of its own with --store")
        if stop.wait(0.02):
            return


def _refuse(waiting: dict[str, str]) -> None:
    for what, why in waiting.items():
        if what.endswith("store") and refused_by_machine(why):
            raise StoreUnavailable(f"{why}; make room or mend it, and the same command goes on where it stopped")


def _said(waiting: dict[str, str]) -> str:
    return "waiting for the " + "; the ".join(f"{what}: {why}" for what, why in waiting.items())


def _follow(installation: Installation, job: str, progress: JobProgress, stop: threading.Event) -> bool:
    """Show progress until the job has ended and its answers are final; False when stopped before.

    The producer is to have heard of the end, or its store would keep the job as an unfinished one.

    Raises:
        StoreUnavailable: it cannot be written, and waiting does not mend it.
    """
    started = checked = time.monotonic()
    ended = math.inf
    while not stop.is_set():
        now = time.monotonic()
        try:
            said = installation.aggregator.progress(job)
            published = installation.producer.status(job)
            progress.update(said, published, now - started)
            if said["state"] != "open" and not said.get("due"):
                ended = min(ended, now)
                if published["state"] not in ("open", "sealed") or now - ended >= HEARD:
                    return True
        except UnknownJob:
            pass  # its first event is still on its way
        except StoreUnavailable as error:
            _refuse({"aggregator store": error.detail})
            progress.note(_said({"aggregator store": error.detail}))
        if now - checked > CHECK:
            checked = now
            if waiting := installation.waiting():
                _refuse(waiting)
                progress.note(_said(waiting))
        stop.wait(LOOK)
    return False


def said_of_cost(cost: Mapping[str, float]) -> str:
    """What a job that pays rewards has cost, for people."""
    whole, by_price, earned = (show.cell(cost[key]) for key in ("whole", "by_price", "rewards"))
    return f"{whole}: {by_price} by price, {earned} in rewards"


def _say(summary: dict[str, Any], folder: Path, json_: bool) -> None:
    if json_:
        show.as_json(summary)
        return
    shown = {key: value for key, value in summary.items() if key not in ("judges", "stages", "planned")}
    if "cost" in shown:
        shown["cost"] = said_of_cost(shown["cost"])
    show.pairs(shown)
    show.line("")
    if "stages" in summary:
        show.table(summary["stages"], ("stage", "judges", "judgments", "answers"))
        show.line("")
    if "planned" in summary:
        from manyhands_cli import planned

        planned.show_on(summary["planned"])
        show.line("")
    show.table(summary["judges"], ("judge", "judgments", "errors", "agreement", "accuracy", "seconds_per_task"))
    for judge in summary["judges"]:
        if judge["errors"] and not dead(judge):
            show.line(f"\n{judge['judge']} failed {judge['errors']:,} times, first at {judge['first_error']}")
    show.line(f"\nanswers are in {folder / 'answers.csv'}")
    if (folder / "failed.csv").exists():
        show.line(f"tasks without an answer, and why, are in {folder / 'failed.csv'}")
