"""``manyhands watch``: follow a job until it ends."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer

from manyhands_cli.errors import NotThere, ServiceAway
from manyhands_cli.exits import Exit
from manyhands_cli.options import (
    AGGREGATOR,
    PRODUCER,
    AggregatorUrl,
    Ca,
    JobId,
    ProducerUrl,
    Token,
    aggregator_client,
    producer_client,
)
from manyhands_cli.paths import of_job

if TYPE_CHECKING:
    from manyhands_cli.client import Client
    from manyhands_cli.source import Source

#: Seconds between looks at a job that is watched.
LOOK = 0.3
#: Seconds without a new judgment after which it is asked, and asked again, whether anybody judges at all.
IDLE = 5.0
#: Seconds for which a service that has answered before may be away while a job is watched.
AWAY = 60.0


def watch(
    job: JobId,
    producer: ProducerUrl = PRODUCER,
    aggregator: AggregatorUrl = AGGREGATOR,
    token: Token = None,
    ca: Ca = None,
) -> None:
    """Follow a job until it ends: published, judged, answered, failed, rate and time left.

    A bar on a terminal, a line every ten seconds elsewhere. Ctrl-C ends the watching, not the job. The exit code is 0
    if every task was answered, 1 if the job ended partial or cancelled.

    Example: manyhands watch digits-1f00ba11
    """
    raise typer.Exit(
        code_of_end(follow(job, producer_client(producer, token, ca), aggregator_client(aggregator, token, ca)))
    )


def code_of_end(said: Mapping[str, Any]) -> Exit:
    """The exit code that tells how a job ended."""
    return Exit.OK if said["state"] == "complete" else Exit.SHORT


def follow(job: str, producer: Client, aggregator: Client) -> dict[str, Any]:
    """Show progress until the job has ended and its answers are final; what the aggregator says of it then."""
    from manyhands_cli.progress import JobProgress

    started = time.monotonic()
    heard: float | None = None  # when both answered last
    judgments, moved = -1, started
    missing: list[str] = []
    with JobProgress(job) as progress:
        while True:
            try:
                published = producer.call("GET", of_job(job))
                said = or_unheard(aggregator, of_job(job))
                if said and said["judgments"] != judgments:
                    judgments, moved, missing = said["judgments"], time.monotonic(), []
                elif said and said["state"] == "open" and time.monotonic() - moved >= IDLE:
                    moved, missing = time.monotonic(), unserved(aggregator, job)
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
                progress.update({**said, "unserved": missing}, published, heard - started)
                if said["state"] != "open" and not said.get("due"):
                    return said
            time.sleep(LOOK)


def or_unheard(client: Client, path: str) -> dict[str, Any] | None:
    """What the aggregator says of a job; None if it has not heard of it yet."""
    try:
        said: dict[str, Any] = client.call("GET", path)
    except NotThere:
        return None
    return said


def unserved(client: Source, job: str) -> list[str]:
    """The job's judges for whom suites wait that no worker takes, as far as the aggregator can tell."""
    try:
        return list(client.call("GET", of_job(job, "/unserved"))["judges"] or ())
    except NotThere:  # the aggregator is of a version that cannot
        return []
