"""Options that several commands share, with their help written once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:  # an HTTP library takes its time to import, and not every command talks to a service
    from manyhands_cli.client import Client

PRODUCER = "http://127.0.0.1:8101"
AGGREGATOR = "http://127.0.0.1:8103"
#: Seconds that somebody who pressed the tab key waits for job ids.
TAB = 1.0


def producer_client(url: str, token: str | None) -> Client:
    """The producer's API."""
    from manyhands_cli.client import Client

    return Client("producer", url, token)


def aggregator_client(url: str, token: str | None) -> Client:
    """The aggregator's API."""
    from manyhands_cli.client import Client

    return Client("aggregator", url, token)


def complete_job(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Ids of jobs that begin so, each with its state, for tab completion; none where no aggregator answers at once."""
    from manyhands_cli.client import Client

    given = context.params
    try:
        client = Client("aggregator", given.get("aggregator") or AGGREGATOR, given.get("token"), patience=TAB)
        return [
            (job["job"], job["state"]) for job in client.call("GET", "/api/jobs") if job["job"].startswith(incomplete)
        ]
    except Exception:  # noqa: BLE001  a tab key has no place to say an error
        return []


Handlers = Annotated[
    str | None,
    typer.Option(
        metavar="MODULE",
        help="Module or .py file with the handlers, in the place of the job file's key handlers.",
        show_default=False,
    ),
]
JobFile = Annotated[
    Path, typer.Argument(metavar="JOB.yaml", help="The job file; docs/job-file.md explains it.", show_default=False)
]
JobId = Annotated[
    str,
    typer.Argument(
        metavar="JOB",
        help="The job's id, as `submit` printed it and `status` lists it.",
        show_default=False,
        autocompletion=complete_job,
    ),
]
JobIdOrFolder = Annotated[
    str,
    typer.Argument(
        metavar="JOB",
        help="The job's id, or the output folder of a `run`.",
        show_default=False,
        autocompletion=complete_job,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one line of JSON, for programs.")]
Token = Annotated[
    str | None,
    typer.Option("--token", envvar="MANYHANDS_API_TOKEN", help="Bearer token of the APIs.", show_default=False),
]
ProducerUrl = Annotated[
    str, typer.Option("--producer", envvar="MANYHANDS_PRODUCER_URL", metavar="URL", help="The producer's API.")
]
AggregatorUrl = Annotated[
    str, typer.Option("--aggregator", envvar="MANYHANDS_AGGREGATOR_URL", metavar="URL", help="The aggregator's API.")
]
BrokerUrl = Annotated[
    str | None,
    typer.Option(
        "--broker",
        envvar="MANYHANDS_BROKER",
        metavar="URL",
        help="The broker: amqp://user:password@host:port/vhost. Default: amqp://localhost:5672/.",
        show_default=False,
    ),
]
StoreUrl = Annotated[
    str | None,
    typer.Option(
        "--store",
        envvar="MANYHANDS_STORE",
        metavar="URL",
        help="The store: sqlite:///file.db or postgresql://user:password@host/database. Default: sqlite:///manyhands.db.",
        show_default=False,
    ),
]
