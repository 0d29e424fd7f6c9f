"""``manyhands submit``: give a job to a running producer."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from manyhands_cli import show
from manyhands_cli.options import (
    AGGREGATOR,
    PRODUCER,
    AggregatorUrl,
    AsJson,
    Ca,
    JobFile,
    ProducerUrl,
    Token,
    aggregator_client,
    producer_client,
)
from manyhands_cli.paths import of_job
from manyhands_cli.watch import code_of_end, follow

if TYPE_CHECKING:
    from manyhands.spec import JobSpec
    from manyhands_cli.client import Client

#: Tasks pushed in one request by `submit --upload`.
PUSH = 1000


def submit(
    job: JobFile,
    upload: Annotated[
        bool, typer.Option("--upload", help="Read the source here and push its tasks, for a producer elsewhere.")
    ] = False,
    job_id: Annotated[
        str | None,
        typer.Option("--id", help="The job's id; giving the same again goes on with the same job.", show_default=False),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Watch it until it ends.")] = False,
    plan: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="What `plan -o` foretold: with --wait, say how right it was.", show_default=False
        ),
    ] = None,
    json_: AsJson = False,
    producer: ProducerUrl = PRODUCER,
    aggregator: AggregatorUrl = AGGREGATOR,
    token: Token = None,
    ca: Ca = None,
) -> None:
    """Submit a job to a running producer and print its id.

    The producer reads the source itself, where it runs: source paths must lie in its MANYHANDS_SOURCE_ROOTS. With
    --upload the source is read here instead. With --wait the exit code is 0 only if every task was answered.

    Example: manyhands submit examples/digits/job.yaml --wait
    """
    from manyhands import spec as specs

    spec = specs.load(job)
    foretold = None
    if plan is not None:
        from manyhands_cli import planned

        foretold = planned.read(plan, spec)
    client = producer_client(producer, token, ca)
    name = job_id or f"{spec.name}-{secrets.token_hex(4)}"
    if upload:
        _upload(client, spec, name)
    else:
        client.call("POST", "/api/jobs", json={"job": name, "spec": spec.plain()})
    if not json_:
        show.line(name)
    elif not wait:
        show.as_json({"job": name})
    if wait:
        reader = aggregator_client(aggregator, token, ca)
        said = follow(name, client, reader)
        if foretold is not None:
            said["planned"] = planned.of_job(reader, name, foretold)
        if json_:
            show.as_json(said)
        elif foretold is not None:
            planned.show_on(said["planned"])
        raise typer.Exit(code_of_end(said))


def _upload(client: Client, spec: JobSpec, name: str) -> None:
    """Push the tasks of a source read here; ``first`` makes each push harmless to repeat."""
    from manyhands_cli.progress import JobProgress
    from manyhands_producer.sources import check_source
    from manyhands_producer.upload import tasks_of

    check_source(spec)
    pushed = spec.model_copy(update={"source": None, "gold": None})
    client.call("POST", "/api/jobs", json={"job": name, "spec": pushed.plain()})
    with JobProgress(f"uploading {spec.name}") as progress:
        first = 0
        for tasks in tasks_of(spec, name, PUSH):
            client.call("POST", of_job(name, "/tasks"), json={"tasks": tasks, "first": first})
            first += len(tasks)
            progress.note(f"{first:,} tasks pushed")
    client.call("POST", of_job(name, "/seal"))
