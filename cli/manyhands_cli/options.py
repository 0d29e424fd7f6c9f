"""Options that several commands share, with their help written once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from manyhands_cli.client import Client

JobFile = Annotated[Path, typer.Argument(metavar="JOB.yaml", help="The job file.", show_default=False)]
JobId = Annotated[str, typer.Argument(metavar="JOB", help="The job's id.", show_default=False)]
JobIdOrFolder = Annotated[
    str, typer.Argument(metavar="JOB", help="The job's id, or the output folder of a `run`.", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
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
    typer.Option("--broker", envvar="MANYHANDS_BROKER", metavar="URL", help="The broker.", show_default=False),
]
StoreUrl = Annotated[
    str | None, typer.Option("--store", envvar="MANYHANDS_STORE", metavar="URL", help="The store.", show_default=False)
]

PRODUCER = "http://127.0.0.1:8101"
AGGREGATOR = "http://127.0.0.1:8103"


def producer_client(url: str, token: str | None) -> Client:
    """The producer's API."""
    return Client("producer", url, token)


def aggregator_client(url: str, token: str | None) -> Client:
    """The aggregator's API."""
    return Client("aggregator", url, token)
