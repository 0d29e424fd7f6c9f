"""Commands that talk to running services."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from manyhands_cli import show
from manyhands_cli.balance import UNHEARD, balance
from manyhands_cli.errors import NotThere, ServiceAway
from manyhands_cli.exits import Exit
from manyhands_cli.options import (
    AGGREGATOR,
    PRODUCER,
    AggregatorUrl,
    AsJson,
    JobFile,
    JobId,
    JobIdOrFolder,
    ProducerUrl,
    Token,
    aggregator_client,
    complete_job,
    producer_client,
)

if TYPE_CHECKING:
    from manyhands.spec import JobSpec
    from manyhands_cli.client import Client

#: Seconds between looks at a job that is watched.
LOOK = 0.3
#: Seconds for which a service that has answered before may be away while a job is watched.
AWAY = 60.0
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
    """Submit a job to a running producer and print its id.

    The producer reads the source itself, where it runs: source paths must lie in its MANYHANDS_SOURCE_ROOTS. With
    --upload the source is read here instead. With --wait the exit code is 0 only if every task was answered.

    Example: manyhands submit examples/digits/job.yaml --wait
    """
    from manyhands import spec as specs

    spec = specs.load(job)
    client = producer_client(producer, token)
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
        said = _follow(name, client, aggregator_client(aggregator, token))
        if json_:
            show.as_json(said)
        raise typer.Exit(_code(said))


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
        for tasks in tasks_of(spec, PUSH):
            client.call("POST", f"/api/jobs/{name}/tasks", json={"tasks": tasks, "first": first})
            first += len(tasks)
            progress.note(f"{first:,} tasks pushed")
    client.call("POST", f"/api/jobs/{name}/seal")


def status(
    job: Annotated[
        str | None,
        typer.Argument(
            metavar="JOB", help="A job's id; all jobs without.", show_default=False, autocompletion=complete_job
        ),
    ] = None,
    json_: AsJson = False,
    aggregator: AggregatorUrl = AGGREGATOR,
    token: Token = None,
) -> None:
    """Show how far a job is, or list all jobs, the newest first.

    Example: manyhands status digits-1f00ba11 --json
    """
    client = aggregator_client(aggregator, token)
    said = client.call("GET", f"/api/jobs/{job}" if job else "/api/jobs")
    if json_:
        show.as_json(said)
    elif job:
        show.pairs(said)
    elif not said:
        show.line("no jobs yet; `manyhands submit JOB.yaml` starts one")
    else:
        show.table(said, ("job", "state", "tasks", "answered", "failed", "cancelled", "open", "rate", "accuracy"))


def watch(
    job: JobId, producer: ProducerUrl = PRODUCER, aggregator: AggregatorUrl = AGGREGATOR, token: Token = None
) -> None:
    """Follow a job until it ends: published, judged, answered, failed, rate and time left.

    A bar on a terminal, a line every ten seconds elsewhere. Ctrl-C ends the watching, not the job. The exit code is 0
    if every task was answered, 1 if the job ended partial or cancelled.

    Example: manyhands watch digits-1f00ba11
    """
    raise typer.Exit(_code(_follow(job, producer_client(producer, token), aggregator_client(aggregator, token))))


def _code(said: Mapping[str, Any]) -> Exit:
    return Exit.OK if said["state"] == "complete" else Exit.SHORT


def _follow(job: str, producer: Client, aggregator: Client) -> dict[str, Any]:
    """Show progress until the job ends; what the aggregator says of it then."""
    from manyhands_cli.progress import JobProgress

    started = time.monotonic()
    heard: float | None = None  # when both answered last
    with JobProgress(job) as progress:
        while True:
            try:
                published = producer.call("GET", f"/api/jobs/{job}")
                said = _or_unheard(aggregator, f"/api/jobs/{job}")
            except ServiceAway as away:
                # a service that is started anew goes on where it was; one that was never there is a mistake
                if heard is None or time.monotonic() - heard > AWAY:
                    raise
                progress.note(f"waiting: {away}")
                time.sleep(LOOK)
                continue
            heard = time.monotonic()
            if said is None:
                progress.note("waiting for the aggregator to hear of it")
            else:
                progress.update(said, published, heard - started)
                if said["state"] != "open":
                    return said
            time.sleep(LOOK)


def _or_unheard(client: Client, path: str) -> dict[str, Any] | None:
    try:
        said: dict[str, Any] = client.call("GET", path)
    except NotThere:
        return None
    return said


def results(
    job: JobId,
    format_: Annotated[
        Format | None,
        typer.Option("--format", "-f", help="Default: by the ending of --out, else csv.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="Write there. Default: standard output.", show_default=False),
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="The tasks without an answer, and why (CSV).")] = False,
    aggregator: AggregatorUrl = AGGREGATOR,
    token: Token = None,
) -> None:
    """Fetch a job's answers in source order: id, answer, confidence, judgments.

    Of a job that is still open come the answers there are; the other rows are empty.

    Example: manyhands results digits-1f00ba11 --out answers.parquet
    """
    ending = out.suffix.removeprefix(".") if out else ""
    kind = format_ or (ending if ending in ("csv", "jsonl", "parquet") else "csv")
    if failed and kind != "csv":
        raise typer.BadParameter("--failed is CSV; choose no other format")
    stream = typer.get_binary_stream("stdout")
    if kind == "parquet" and out is None and stream.isatty():
        raise typer.BadParameter("Parquet is no text; give --out FILE")
    client = aggregator_client(aggregator, token)
    said = client.call("GET", f"/api/jobs/{job}")
    if said["state"] == "open":
        show.notes().print(
            f"{job} is still open: {said['answered']:,} of {said['tasks']:,} tasks have an answer so far"
        )
    blocks = client.stream(f"/api/jobs/{job}/failed.csv" if failed else f"/api/jobs/{job}/answers.{kind}")
    if out is not None:
        from manyhands_cli.files import write_whole

        write_whole(out, blocks)
        return
    for block in blocks:
        stream.write(block)
    stream.flush()


def cancel(
    job: JobId,
    reason: Annotated[str, typer.Option(help="Why; it is shown with the job.")] = "cancelled by request",
    json_: AsJson = False,
    producer: ProducerUrl = PRODUCER,
    token: Token = None,
) -> None:
    """Cancel a job. Answers there are stay; tasks without one count as cancelled.

    A job that has ended stays as it is.

    Example: manyhands cancel digits-1f00ba11 --reason "wrong file"
    """
    said = producer_client(producer, token).call("DELETE", f"/api/jobs/{job}", params={"reason": reason})
    if json_:
        show.as_json(said)
    else:
        show.line(f"{job} is cancelled" if said["state"] == "cancelled" else f"{job} had ended before")


def audit(
    job: JobIdOrFolder,
    json_: AsJson = False,
    store: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="Read this store instead of asking the services; see `run --store`.", show_default=False
        ),
    ] = None,
    producer: ProducerUrl = PRODUCER,
    aggregator: AggregatorUrl = AGGREGATOR,
    token: Token = None,
) -> None:
    """Prove that no task is lost: count them from the rows of both stores.

    The exit code is 1 where they do not balance: tasks = answered + failed + cancelled + open. Asks the running
    services; with --store, or given the output folder of a `run`, it reads the stores themselves.

    Example: manyhands audit digits-1f00ba11 --json

    Example: manyhands audit out/digits
    """
    account = _from_stores(job, store) or _from_services(job, producer, aggregator, token)
    if json_:
        show.as_json(account)
    else:
        show.pairs(account)
    raise typer.Exit(Exit.OK if account["conserved"] else Exit.SHORT)


def _from_stores(job: str, store: str | None) -> dict[str, Any] | None:
    from manyhands_cli.folder import Folder

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
