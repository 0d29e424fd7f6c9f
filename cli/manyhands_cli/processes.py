"""The long-running processes."""

from __future__ import annotations

from typing import Annotated

import typer

from manyhands.settings import load
from manyhands_cli.options import BrokerUrl, StoreUrl, Token

Host = Annotated[str | None, typer.Option(help="Address to serve health, metrics and API on.", show_default=False)]
Port = Annotated[int | None, typer.Option(help="Its port; 0 takes a free one.", show_default=False)]


def producer(
    broker: BrokerUrl = None, store: StoreUrl = None, host: Host = None, port: Port = None, token: Token = None
) -> None:
    """Run a producer: takes jobs over its API, reads their sources, publishes suites.

    Every setting is also an environment variable MANYHANDS_*; docs/settings.md lists them.
    """
    from manyhands_producer.main import serve
    from manyhands_producer.settings import ProducerSettings

    settings = load(ProducerSettings, broker=broker, store=store, host=host, port=port, api_token=token)
    raise typer.Exit(serve(settings))


def aggregator(
    broker: BrokerUrl = None, store: StoreUrl = None, host: Host = None, port: Port = None, token: Token = None
) -> None:
    """Run an aggregator: takes judgments in, decides answers, ends jobs, exports.

    Every setting is also an environment variable MANYHANDS_*; docs/settings.md lists them.
    """
    from manyhands_aggregator.main import serve
    from manyhands_aggregator.settings import AggregatorSettings

    settings = load(AggregatorSettings, broker=broker, store=store, host=host, port=port, api_token=token)
    raise typer.Exit(serve(settings))


def worker(
    handlers: Annotated[
        str | None, typer.Option(help="Module or .py file with the handlers; several with commas.", show_default=False)
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="YAML with handlers, commands and http judges; a job file will do.",
            show_default=False,
        ),
    ] = None,
    judges: Annotated[
        str | None, typer.Option(help="Serve only these judges; several with commas.", show_default=False)
    ] = None,
    children: Annotated[
        int | None, typer.Option(help="Child processes that run handlers; default: one a core.", show_default=False)
    ] = None,
    broker: BrokerUrl = None,
    host: Host = None,
    port: Port = None,
) -> None:
    """Run a worker: judges suites in child processes. Start as many as you like, anywhere.

    Every setting is also an environment variable MANYHANDS_*; docs/settings.md lists them.
    """
    from manyhands_worker.main import serve
    from manyhands_worker.settings import WorkerSettings

    settings = load(
        WorkerSettings, handlers=handlers, config=config, judges=judges, children=children, broker=broker,
        host=host, port=port,
    )  # fmt: skip
    raise typer.Exit(serve(settings))
