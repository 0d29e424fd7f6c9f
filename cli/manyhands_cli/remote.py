"""Commands that talk to running services."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from manyhands import spec as specs
from manyhands.errors import UnknownJob
from manyhands_cli import show
from manyhands_cli.balance import UNHEARD, balance
from manyhands_cli.client import Client
from manyhands_cli.exits import Exit
from manyhands_cli.folder import Folder
from manyhands_cli.options import (
    AGGREGATOR,
    PRODUCER,
    AggregatorUrl,
    AsJson,
    JobFile,
    JobId,
    JobIdOrFolder,
    ProducerUrl,
    StoreUrl,
    Token,
    aggregator_client,
    producer_client,
)

#: Seconds between looks at a job that is watched.
LOOK = 0.3
#: Tasks pushed in one request by `submit --upload`.
PUSH = 1000

Format = Literal["csv", "jsonl", "parquet"]


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
    json_: AsJson = False,
    producer: ProducerUrl = PRODUCER,
    aggregator: AggregatorUrl = AGGREGATOR,
    token: Token = None,
) -> None:
    """Submit a job to a running producer and print its id."""
    spec = specs.load(job)
    client = producer_client(producer, token)
    name = job_id or f"{spec.name}-{secrets.token_hex(4)}"
    if upload:
        _upload(client, spec, name)
    else:
        client.call("POST", "/api/jobs", json={"job": name, "spec": spec.plain()})
    if json_:
        show.as_json({"job": name})
    else:
        typer.echo(name)
    if wait:
        _watch(name, client, aggregator_client(aggregator, token))


def _upload(client: Client, spec: specs.JobSpec, name: str) -> None:
    """Push the tasks of a source read here; ``first`` makes each push harmless to repeat."""
    from manyhands_producer.upload import tasks_of

    pushed = spec.model_copy(update={"source": None, "gold": None})
    client.call("POST", "/api/jobs", json={"job": name, "spec": pushed.plain()})
    with show.JobProgress(f"uploading {spec.name}") as progress:
        first = 0
        for tasks in tasks_of(spec, PUSH):
            client.call("POST", f"/api/jobs/{name}/tasks", json={"tasks": tasks, "first": first})
            first += len(tasks)
            progress.note(f"{first:,} tasks pushed")
    client.call("POST", f"/api/jobs/{name}/seal")


def status(
    job: Annotated[
        str | None, typer.Argument(metavar="[JOB]", help="A job's id; all jobs without.", show_default=False)
    ] = None,
    json_: AsJson = False,
    aggregator: AggregatorUrl = AGGREGATOR,
    token: Token = None,
) -> None:
    """Show how far a job is, or all jobs."""
    client = aggregator_client(aggregator, token)
    said = client.call("GET", f"/api/jobs/{job}" if job else "/api/jobs")
    if json_:
        show.as_json(said)
    elif job:
        show.pairs(said)
    elif not said:
        show.OUT.print("no jobs yet; `manyhands submit JOB.yaml` starts one")
    else:
        show.table(said, ("job", "state", "tasks", "answered", "failed", "cancelled", "open", "rate", "accuracy"))


def watch(
    job: JobId, producer: ProducerUrl = PRODUCER, aggregator: AggregatorUrl = AGGREGATOR, token: Token = None
) -> None:
    """Follow a job until it ends: published, judged, answered, failed, rate and time left."""
    _watch(job, producer_client(producer, token), aggregator_client(aggregator, token))


def _watch(job: str, producer: Client, aggregator: Client) -> None:
    started = time.monotonic()
    with show.JobProgress(job) as progress:
        while True:
            published = producer.call("GET", f"/api/jobs/{job}")
            said = _or_unheard(aggregator, f"/api/jobs/{job}")
            if said is None:
                progress.note("waiting for the aggregator to hear of it")
            else:
                progress.update(said, published, time.monotonic() - started)
                if said["state"] != "open":
                    break
            time.sleep(LOOK)
    raise typer.Exit(Exit.OK if said["state"] == "complete" else Exit.SHORT)


def _or_unheard(client: Client, path: str) -> dict[str, Any] | None:
    try:
        said: dict[str, Any] = client.call("GET", path)
    except UnknownJob:
        return None
    return said


def results(
    job: JobId,
    format_: Annotated[
        Format | None, typer.Option("--format", "-f", help="By the file's ending, else csv.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="A file; standard output without.", show_default=False)
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="The tasks without an answer, and why (CSV).")] = False,
    aggregator: AggregatorUrl = AGGREGATOR,
    token: Token = None,
) -> None:
    """Fetch a job's answers in source order: id, answer, confidence, judgments."""
    ending = out.suffix.removeprefix(".") if out else ""
    kind = format_ or (ending if ending in ("csv", "jsonl", "parquet") else "csv")
    path = f"/api/jobs/{job}/failed.csv" if failed else f"/api/jobs/{job}/answers.{kind}"
    blocks = aggregator_client(aggregator, token).stream(path)
    if out is None:
        stream = typer.get_binary_stream("stdout")
        for block in blocks:
            stream.write(block)
        stream.flush()
    else:
        write_whole(out, blocks)


def write_whole(path: Path, blocks: Iterable[bytes]) -> None:
    """Write a file so that it is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            for block in blocks:
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def cancel(job: JobId, json_: AsJson = False, producer: ProducerUrl = PRODUCER, token: Token = None) -> None:
    """Cancel a job. Answers there are stay; tasks without one count as cancelled."""
    said = producer_client(producer, token).call("DELETE", f"/api/jobs/{job}")
    if json_:
        show.as_json(said)
    else:
        typer.echo(f"{job} is cancelled")


def audit(
    job: JobIdOrFolder,
    json_: AsJson = False,
    store: StoreUrl = None,
    producer: ProducerUrl = PRODUCER,
    aggregator: AggregatorUrl = AGGREGATOR,
    token: Token = None,
) -> None:
    """Prove that no task is lost: count them from the rows of both stores; exit code 1 where they do not balance.

    Asks the running services; with --store, or given the output folder of a `run`, it reads the stores themselves.
    """
    account = _from_stores(job, store) or _from_services(job, producer, aggregator, token)
    if json_:
        show.as_json(account)
    else:
        show.pairs(account)
    raise typer.Exit(Exit.OK if account["conserved"] else Exit.SHORT)


def _from_stores(job: str, store: str | None) -> dict[str, Any] | None:
    folder = Folder(Path(job))
    if folder.job is not None:
        job, store = folder.job, store or folder.store
    if store is None:
        return None
    from manyhands_cli.accounts import audit_stores

    return audit_stores(job, store)


def _from_services(job: str, producer: str, aggregator: str, token: str | None) -> dict[str, Any]:
    published = producer_client(producer, token).call("GET", f"/api/jobs/{job}/audit")
    said = _or_unheard(aggregator_client(aggregator, token), f"/api/jobs/{job}/audit") or {"job": job, **UNHEARD}
    return balance(published, said)
