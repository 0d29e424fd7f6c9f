"""Commands that ask running services: status, cancel, audit."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from manyhands_cli import show
from manyhands_cli.balance import UNHEARD, balance
from manyhands_cli.exits import Exit
from manyhands_cli.options import (
    AGGREGATOR,
    PRODUCER,
    AggregatorUrl,
    AsJson,
    Ca,
    JobId,
    JobIdOrFolder,
    ProducerUrl,
    Token,
    aggregator_client,
    complete_job,
    producer_client,
)
from manyhands_cli.paths import of_job
from manyhands_cli.source import source_of
from manyhands_cli.watch import or_unheard, unserved

#: Seconds between two looks at what does not balance.
AGAIN = 1.0


def status(
    job: Annotated[
        str | None,
        typer.Argument(
            metavar="JOB",
            help="A job's id, or the output folder of a `run`; all jobs without.",
            show_default=False,
            autocompletion=complete_job,
        ),
    ] = None,
    json_: AsJson = False,
    aggregator: AggregatorUrl = AGGREGATOR,
    token: Token = None,
    ca: Ca = None,
) -> None:
    """Show how far a job is, or list all jobs, the newest first.

    Of a job that is open, ``unserved`` names the judges for whom suites wait that no worker takes.

    Example: manyhands status digits-1f00ba11 --json
    """
    with source_of(job or "", aggregator, token, ca) as (source, name):
        said = source.call("GET", of_job(name) if job else "/api/jobs")
        if job and said["state"] == "open":
            said["unserved"] = unserved(source, name)
    if json_:
        show.as_json(said)
    elif job:
        show.pairs(said)
    elif not said:
        show.line("no jobs yet; `manyhands submit JOB.yaml` starts one")
    else:
        show.table(said, ("job", "state", "tasks", "answered", "failed", "cancelled", "open", "rate", "accuracy"))


def agreement(
    job: JobIdOrFolder,
    json_: AsJson = False,
    aggregator: AggregatorUrl = AGGREGATOR,
    token: Token = None,
    ca: Ca = None,
) -> None:
    """Show how far a job's judges agree beyond chance, what they confuse, and the tasks that divide them most.

    Alpha (Krippendorff's) is 1 where all agree and 0 where they agree by chance alone. A judge counts once a task.

    Example: manyhands agreement digits-1f00ba11
    """
    with source_of(job, aggregator, token, ca) as (source, name):
        said = source.call("GET", of_job(name, "/agreement"))
    if json_:
        show.as_json(said)
    elif said is None:
        show.line(f"{job} has a single judge; agreement needs two")
    else:
        lists = {key: said.pop(key) for key in ("pairs", "options", "hardest") if key in said}
        show.pairs(said)
        for title, rows in lists.items():
            if rows:
                show.line(f"\n{title}")
                show.table(rows, list(dict.fromkeys(key for row in rows for key in row)))


def rewards(
    job: JobIdOrFolder,
    json_: AsJson = False,
    aggregator: AggregatorUrl = AGGREGATOR,
    token: Token = None,
    ca: Ca = None,
) -> None:
    """Show what people have earned in a job, and what an hour comes to.

    Example: manyhands rewards digits-1f00ba11
    """
    with source_of(job, aggregator, token, ca) as (source, name):
        said = source.call("GET", of_job(name, "/rewards"))
    if json_:
        show.as_json(said)
    elif not said["people"]:
        show.line(f"nobody has earned anything in {job}")
    else:
        show.table(said["people"], tuple(said["people"][0]))
        show.line(f"\n{said['earned']} in all")


def cancel(
    job: JobId,
    reason: Annotated[str, typer.Option(help="Why; it is shown with the job.")] = "cancelled by request",
    json_: AsJson = False,
    producer: ProducerUrl = PRODUCER,
    token: Token = None,
    ca: Ca = None,
) -> None:
    """Cancel a job. Answers there are stay; tasks without one count as cancelled.

    A job that has ended stays as it is.

    Example: manyhands cancel digits-1f00ba11 --reason "wrong file"
    """
    said = producer_client(producer, token, ca).call("DELETE", of_job(job), params={"reason": reason})
    if json_:
        show.as_json(said)
    else:
        show.line(f"{job} is cancelled" if said["state"] == "cancelled" else f"{job} had ended before")


def republish(
    jobs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[JOB]...",
            help="Jobs' ids; every job that has not ended without.",
            show_default=False,
            autocompletion=complete_job,
        ),
    ] = None,
    json_: AsJson = False,
    producer: ProducerUrl = PRODUCER,
    token: Token = None,
) -> None:
    """Publish again what is not settled: after a restore, or when the broker has lost its queues.

    It does no harm to a job that lost nothing: what comes twice counts once, but is judged again.

    Example: manyhands republish digits-1f00ba11
    """
    client = producer_client(producer, token)
    named = jobs or [said["job"] for said in client.call("GET", "/api/jobs") if said["state"] != "ended"]
    said = [client.call("POST", of_job(job, "/republish")) for job in named]
    if json_:
        show.as_json(said)
    elif not said:
        show.line("no job is open")
    for each in () if json_ else said:
        show.line(f"{each['job']} is published again" if each["republished"] else f"{each['job']} had ended before")


def audit(
    job: JobIdOrFolder,
    json_: AsJson = False,
    store: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="Read this store instead of asking the services; see `run --store`.", show_default=False
        ),
    ] = None,
    patience: Annotated[
        float,
        typer.Option(metavar="SECONDS", min=0, help="Look again for so long before a difference counts as one."),
    ] = 10.0,
    producer: ProducerUrl = PRODUCER,
    aggregator: AggregatorUrl = AGGREGATOR,
    token: Token = None,
    ca: Ca = None,
) -> None:
    """Prove that no task is lost, and say where each one stands: counted from the rows of both stores, and the queues.

    The exit code is 1 where they do not balance, and still do not when looked at again: tasks = answered + failed +
    cancelled + open. Asks the running services; with --store, or given the output folder of a `run`, it reads the
    stores themselves.

    Tasks stand with the producer (unpublished), with the broker and the workers (published), with the aggregator, where
    some of their judgments are missing (judged), or are answered, failed or cancelled. Messages are those that wait
    in the queues which the job's messages pass, whatever job they are of: for the judges (in queue, and suspects), on
    the retry ladder (retried), for the aggregator (judged). Those delivered, which are in the hands of workers or of
    the aggregator, no queue tells of: it is what must be somewhere and is in no queue, at least.

    Example: manyhands audit digits-1f00ba11 --json

    Example: manyhands audit out/digits
    """
    account = lasting(
        lambda: _from_stores(job, store) or _from_services(job, producer, aggregator, token, ca), patience
    )
    if json_:
        show.as_json(account)
    else:
        show.pairs({key: said for key, said in account.items() if key not in ("stands", "messages", "queues")})
        for title in ("stands", "messages", "queues"):
            if account.get(title):
                show.line(f"\n{title}")
                show.pairs(account[title])
    raise typer.Exit(Exit.OK if account["conserved"] else Exit.SHORT)


def lasting(look: Callable[[], dict[str, Any]], patience: float) -> dict[str, Any]:
    """What is seen when it balances; else what is still seen after so many seconds, for messages move between looks."""
    ends = time.monotonic() + patience
    account = look()
    if not account["conserved"] and patience:
        show.notes().print(f"it does not balance; looking again for {patience:g} seconds")
    while not account["conserved"] and (left := ends - time.monotonic()) > 0:
        time.sleep(min(AGAIN, left))
        account = look()
    return account


def _from_stores(job: str, store: str | None) -> dict[str, Any] | None:
    from manyhands_cli.folder import Folder

    folder = Folder(Path(job))
    if folder.job is not None:
        job, store = folder.job, store or folder.store
    if store is None:
        return None
    from manyhands_cli.accounts import audit_stores

    return audit_stores(job, store)


def _from_services(job: str, producer: str, aggregator: str, token: str | None, ca: Path | None) -> dict[str, Any]:
    client = producer_client(producer, token, ca)
    published = client.call("GET", of_job(job, "/audit"))
    said = or_unheard(aggregator_client(aggregator, token, ca), of_job(job, "/audit")) or {"job": job, **UNHEARD}
    return balance(published, said, client.call("GET", of_job(job, "/audit")))
