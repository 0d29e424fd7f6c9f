"""The long-running processes."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from manyhands_cli.options import BrokerUrl, StoreUrl, Token

Host = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS", help="Serve health, metrics and API there. Default: 127.0.0.1.", show_default=False
    ),
]
Children = Annotated[
    int | None,
    typer.Option(min=1, help="Child processes that run handlers. Default: one a core.", show_default=False),
]


def _port(default: str) -> Any:
    """The port option of one kind of process."""
    said = f"Its port; 0 takes a free one. Default: {default}."
    return typer.Option(min=0, max=65535, help=said, show_default=False)


def producer(
    broker: BrokerUrl = None,
    store: StoreUrl = None,
    host: Host = None,
    port: Annotated[int | None, _port("8101")] = None,
    token: Token = None,
) -> None:
    """Run a producer: takes jobs over its API, reads their sources, publishes suites.

    Runs until SIGTERM or Ctrl-C. Every setting is also an environment variable; docs/settings.md lists them.

    Example: manyhands producer --broker amqp://guest:guest@localhost/
    """
    from manyhands.settings import load
    from manyhands_producer.main import serve
    from manyhands_producer.settings import ProducerSettings

    settings = load(ProducerSettings, broker=broker, store=store, host=host, port=port, api_token=token)
    raise typer.Exit(serve(settings))


def aggregator(
    broker: BrokerUrl = None,
    store: StoreUrl = None,
    host: Host = None,
    port: Annotated[int | None, _port("8103")] = None,
    token: Token = None,
) -> None:
    """Run an aggregator: takes judgments in, decides answers, ends jobs, exports.

    Runs until SIGTERM or Ctrl-C. Every setting is also an environment variable; docs/settings.md lists them.

    Example: manyhands aggregator --broker amqp://guest:guest@localhost/
    """
    from manyhands.settings import load
    from manyhands_aggregator.main import serve
    from manyhands_aggregator.settings import AggregatorSettings

    settings = load(AggregatorSettings, broker=broker, store=store, host=host, port=port, api_token=token)
    raise typer.Exit(serve(settings))


def worker(
    handlers: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE",
            help="Module or .py file with the handlers, several with commas between; "
            "in the place of the key handlers of --config.",
            show_default=False,
        ),
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="YAML with handlers, commands, http and llm judges; a job file will do.",
            show_default=False,
        ),
    ] = None,
    judges: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES", help="Serve only these judges, with commas between. Default: all.", show_default=False
        ),
    ] = None,
    children: Children = None,
    broker: BrokerUrl = None,
    host: Host = None,
    port: Annotated[int | None, _port("a free one")] = None,
) -> None:
    """Run a worker: judges suites in child processes. Start as many as you like, anywhere.

    Runs until SIGTERM or Ctrl-C, and then finishes what it has in hand. Every setting is also an environment variable;
    docs/settings.md lists them.

    Example: manyhands worker --config examples/digits/job.yaml
    """
    from manyhands.settings import load
    from manyhands_worker.main import serve
    from manyhands_worker.settings import WorkerSettings

    settings = load(
        WorkerSettings, handlers=handlers, config=config, judges=judges, children=children, broker=broker,
        host=host, port=port,
    )  # fmt: skip
    raise typer.Exit(serve(settings))
