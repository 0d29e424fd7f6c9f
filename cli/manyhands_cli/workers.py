"""The command that shows how good workers are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from manyhands_cli import reputations, show
from manyhands_cli.options import AGGREGATOR, AggregatorUrl, AsJson, Ca, Token, aggregator_client, complete_job
from manyhands_cli.paths import of_job
from manyhands_cli.reputations import Type
from manyhands_cli.source import source_of

#: Columns of the table.
WORKERS = (
    "worker",
    "judgments",
    "accuracy",
    "accuracy_low",
    "accuracy_high",
    "spam",
    "pace",
    "change",
    "action",
    "why",
)


def workers(
    job: Annotated[
        str | None,
        typer.Argument(
            metavar="JOB",
            help="The job's id, or the output folder of a `run`; all jobs that have ended without.",
            show_default=False,
            autocompletion=complete_job,
        ),
    ] = None,
    worker: Annotated[
        str | None,
        typer.Option(
            "--worker",
            "-w",
            metavar="NAME",
            help="All of one: with its confusion matrix in the job, or its reputations.",
            show_default=False,
        ),
    ] = None,
    type_: Annotated[
        Type | None, typer.Option("--type", help="Reputations for answers of this type alone.", show_default=False)
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            min=1, help="Reputations shown, at most. Default: 50 in the table, all with --json.", show_default=False
        ),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Reputations out of this store, with no service running; see `run --store`.",
            show_default=False,
        ),
    ] = None,
    forget: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Forget the reputations of this worker for good; what it judged stays with the jobs.",
            show_default=False,
        ),
    ] = None,
    json_: AsJson = False,
    aggregator: AggregatorUrl = AGGREGATOR,
    token: Token = None,
    ca: Ca = None,
) -> None:
    """Show how good each worker of a job is, machine or person, and what the job's rules say to it.

    Accuracy is compared with gold or else with what all others say: the share of right judgments to be expected, which
    is near 70 % for a newcomer, and its bounds, which hold with 95 % certainty each. Spam is the probability that a
    worker does not look at its tasks.

    Without a job these are reputations: what each worker has shown in all jobs that have ended, by type of answer,
    newer jobs counting more. Those come first whose upper bound is lowest: who is surely bad, and not who is new.

    Example: manyhands workers digits-1f00ba11

    Example: manyhands workers --type choice
    """
    if job is not None:
        if any(option is not None for option in (type_, limit, store, forget)):
            raise typer.BadParameter("--type, --limit, --store and --forget are about all jobs; leave out the job")
        _of_job(job, worker, json_, aggregator, token, ca)
        return
    client = aggregator_client(aggregator, token, ca)
    if forget is not None:
        if any(option is not None for option in (worker, type_, limit, store)):
            raise typer.BadParameter("--forget is about all that is known of one worker; give it alone")
        gone = reputations.forget(client, forget)
        if json_:
            show.as_json({"jobs": gone})
        else:
            show.line(f"forgotten of {forget}: what it has shown in {gone:,} jobs")
    elif store is None:
        reputations.show_on(reputations.known(client, type_=type_, worker=worker), limit, json_=json_)
    else:
        reputations.show_on(reputations.of_store(store, type_=type_, worker=worker), limit, json_=json_)


def _of_job(job: str, worker: str | None, json_: bool, aggregator: str, token: str | None, ca: Path | None) -> None:
    with source_of(job, aggregator, token, ca) as (source, name):
        if worker is None:
            said = source.call("GET", of_job(name, "/workers"))
        else:
            said = source.call("GET", of_job(name, "/worker"), params={"name": worker})
    if json_:
        show.as_json(said)
    elif worker is not None:
        confusion = said.pop("confusion")
        show.pairs(said)
        if confusion:
            show.line("\nwhat it says of which truth")
            show.table([{"truth": truth, **row} for truth, row in confusion.items()], ["truth", *confusion])
    elif not said:
        show.line("nothing is judged yet")
    else:
        show.table([{**row, "why": "; ".join(row["reasons"])} for row in said], WORKERS)
