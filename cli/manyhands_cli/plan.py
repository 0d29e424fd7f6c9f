"""``manyhands plan``: what a job takes, before it is run."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from manyhands_cli import show
from manyhands_cli.options import AsJson, Handlers, JobFile


def plan(
    job: JobFile,
    handlers: Handlers = None,
    pilot: Annotated[int, typer.Option(min=1, help="Tasks that every judge tries, to see how long it takes.")] = 20,
    children: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Child processes that will share the work, over all workers. Default: one a core of this machine.",
            show_default=False,
        ),
    ] = None,
    json_: AsJson = False,
) -> None:
    """Foretell what a job takes before it is run: tasks, suites, judgments, time, cost.

    Counts the source and lets every judge try a few tasks. Nothing is published or kept.

    Example: manyhands plan examples/digits/job.yaml --children 8
    """
    from manyhands import logs
    from manyhands_cli import foretell, jobfile
    from manyhands_cli.progress import JobProgress

    logs.configure("plan", level="warning", format="text")
    spec = jobfile.read(job, handlers)
    with JobProgress(f"counting {spec.name}", quiet=json_) as progress:
        counted = foretell.count(spec, pilot, lambda tasks: progress.note(f"{tasks:,} tasks"))
    pilots = foretell.pilot(spec, job, handlers, counted.sample)
    said = foretell.foretell(spec, counted, pilots, children or os.cpu_count() or 1)
    if json_:
        show.as_json(said)
        return
    judges = said.pop("judges")
    show.pairs(said)
    show.line("")
    show.table(judges, ("judge", "judgments", "load_seconds", "seconds_per_task", "price", "pilot_failed"))
