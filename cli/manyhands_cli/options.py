"""Options that several commands share, with their help written once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:  # an HTTP library takes its time to import, and not every command talks to a service
    from manyhands_cli.client import Client

PRODUCER = "http://127.0.0.1:8101"
AGGREGATOR = "http://127.0.0.1:8103"
#: Seconds that somebody who pressed the tab key waits for job ids.
TAB = 1.0


def producer_client(url: str, token: str | None, ca: Path | None = None) -> Client:
    """The producer's API."""
    return _client("producer", url, token, ca)


def aggregator_client(url: str, token: str | None, ca: Path | None = None) -> Client:
    """The aggregator's API."""
    return _client("aggregator", url, token, ca)


def _client(service: str, url: str, token: str | None, ca: Path | None, **options: float) -> Client:
    from manyhands.settings import from_files
    from manyhands_cli.client import Client

    files = from_files(os.environ) if token is None or ca is None else {}
    token = token or files.get("api_token")
    return Client(service, url, token, ca=ca or (Path(files["ca"]) if "ca" in files else None), **options)


def complete_job(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Ids of jobs that begin so, each with its state, for tab completion; none where no aggregator answers at once."""
    given = context.params
    try:
        client = _client(
            "aggregator", given.get("aggregator") or given.get("url") or AGGREGATOR, given.get("token"),
            given.get("ca"), patience=TAB,
        )  # fmt: skip
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
Ca = Annotated[
    Path | None,
    typer.Option(
        "--ca",
        envvar="MANYHANDS_CA",
        metavar="FILE",
        help="PEM file of the authorities to trust where an API's URL is https://. Default: public ones.",
        show_default=False,
    ),
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
