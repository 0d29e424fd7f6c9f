"""The command that shows how good workers are."""

from __future__ import annotations

from typing import Annotated

import typer

from manyhands_cli import show
from manyhands_cli.options import AGGREGATOR, AggregatorUrl, AsJson, Ca, JobIdOrFolder, Token
from manyhands_cli.paths import of_job
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
    job: JobIdOrFolder,
    worker: Annotated[
        str | None,
        typer.Option(
            "--worker", "-w", metavar="NAME", help="All of one, with its confusion matrix.", show_default=False
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

    Example: manyhands workers digits-1f00ba11
    """
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
