"""The producer's HTTP API; OpenAPI under ``/docs``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal, TypeVar

import orjson
from fastapi import FastAPI, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from manyhands import spec as specs
from manyhands import tracing
from manyhands.errors import ManyhandsError
from manyhands.ops import Ops
from manyhands.settings import ApiSettings
from manyhands_producer.errors import BodyTooLarge, JobRefused, SpoolFull
from manyhands_producer.service import Producer
from manyhands_producer.sources.files import LINE_LIMIT
from manyhands_service import web
from manyhands_service.audit import about, audited

#: Bytes and tasks of a JSON Lines body that are spooled in one commit.
PART_BYTES, PART_TASKS = 1 << 20, 10_000
NDJSON = "application/x-ndjson"

M = TypeVar("M", bound=BaseModel)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Task(_Strict):
    """A task that is pushed."""

    payload: Any = Field(description="What judges are given.")
    id: str | int | None = Field(default=None, description="Its own id; else its position.")
    truth: Any = Field(default=None, description="The right answer, where it is known; judges never see it.")
    gold: bool = Field(default=False, description="It is asked for its truth alone, has no id, and is no answer.")


class NewJob(_Strict):
    """A job to be opened."""

    spec: dict[str, Any] = Field(description="The job file, as JSON.")
    job: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,149}$",
        description="Its id, made by the client so that a repeat is harmless. Default: the name and 8 hex digits.",
    )
    tasks: list[dict[str, Any]] | None = Field(default=None, description="Its first tasks, as in Tasks.")
    seal: bool = Field(default=False, description="No more tasks come.")


class Tasks(_Strict):
    """Tasks for an open job."""

    tasks: list[dict[str, Any]] = Field(description="Maps with payload, and id, truth and gold where there are any.")
    first: int | None = Field(default=None, ge=0, description="The position of the first: makes a repeat harmless.")


class Opened(BaseModel):
    """The job that was opened."""

    job: str
    state: str


class Total(BaseModel):
    """How many tasks the job has now."""

    tasks: int


class Republished(BaseModel):
    """Whether a job is published again; one whose end the producer has heard of is not."""

    job: str
    republished: bool


class Status(BaseModel):
    """How far a job is with the producer.

    ``error`` says why it was cancelled, ``outcome`` how it ended: a partial one may become complete by a replay.
    """

    job: str
    name: str
    state: Literal["open", "sealed", "ended", "cancelled"]
    tasks: int
    refused: int
    suites: int
    published: int
    settled: int
    in_flight: int
    error: str | None
    outcome: Literal["complete", "partial", "cancelled"] | None


class Audit(BaseModel):
    """What the producer's store holds of a job: what is in the spool, and of that what is published."""

    job: str
    state: str
    tasks: int
    refused: int
    suites: int
    spooled: int
    spooled_tasks: int
    in_flight: int
    in_flight_tasks: int
    published: int
    settled: int


def _accepts(*kinds: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    """The request body for OpenAPI, where the code reads it itself."""
    content = {kind: {"schema": schema} for kind, schema in kinds}
    return {"requestBody": {"required": True, "content": content}}


_NEW_JOB = _accepts(("application/json", NewJob.model_json_schema()))
_TASKS = _accepts(
    ("application/json", Tasks.model_json_schema()),
    (NDJSON, {"type": "string", "description": "A task a line.", "contentSchema": Task.model_json_schema()}),
)


def build(producer: Producer, settings: ApiSettings) -> FastAPI:
    """The application over a producer."""
    codes: dict[type[ManyhandsError], int] = {SpoolFull: 429, BodyTooLarge: 413}
    app = web.application("Manyhands producer", Ops(producer.checks), settings, status=codes)
    largest = settings.api_body

    @app.post("/api/jobs", status_code=201, openapi_extra=_NEW_JOB, dependencies=[audited("job.open")])
    async def submit(request: Request, response: Response) -> Opened:
        """Open a job; 200 when it was there already."""
        new = _model(NewJob, await _body(request, largest))
        about(request, job=new.job)
        spec = specs.parse(new.spec, file="spec")
        with tracing.called("POST", "/api/jobs", request.headers):
            job, created = await run_in_threadpool(producer.open, spec, job=new.job, tasks=new.tasks, seal=new.seal)
        about(request, job=job)
        response.status_code = 201 if created else 200
        status = await run_in_threadpool(producer.status, job)
        return Opened(job=job, state=status["state"])

    @app.get("/api/jobs")
    def jobs() -> list[Status]:
        """Every job, the newest first."""
        return [Status(**status) for status in producer.jobs()]

    @app.get("/api/jobs/{job}")
    def status(job: str) -> Status:
        """How far a job is with the producer."""
        return Status(**producer.status(job))

    @app.post("/api/jobs/{job}/tasks", openapi_extra=_TASKS)
    async def push(request: Request, job: str, first: Annotated[int | None, Query(ge=0)] = None) -> Total:
        """Add tasks to an open job. Of a JSON Lines body what was read before an error stays added."""
        with tracing.called("POST", "/api/jobs/{job}/tasks", request.headers):
            return await _push(request, job, first)

    async def _push(request: Request, job: str, first: int | None) -> Total:
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != NDJSON:
            tasks = _model(Tasks, await _body(request, largest))
            at = tasks.first if tasks.first is not None else first
            return Total(tasks=await run_in_threadpool(producer.push, job, tasks.tasks, at))
        total = None
        async for part in _parts(request):
            total = await run_in_threadpool(producer.push, job, part, first)
            first = None if first is None else first + len(part)
        if total is None:
            total = (await run_in_threadpool(producer.status, job))["tasks"]
        return Total(tasks=total)

    @app.post("/api/jobs/{job}/seal", dependencies=[audited("job.seal")])
    def seal(job: str) -> Status:
        """Say that no more tasks come."""
        producer.seal(job)
        return Status(**producer.status(job))

    @app.delete("/api/jobs/{job}", dependencies=[audited("job.cancel")])
    def cancel(job: str, reason: str = "cancelled by request") -> Status:
        """End a job as it is."""
        producer.cancel(job, reason)
        return Status(**producer.status(job))

    @app.post("/api/jobs/{job}/republish", dependencies=[audited("job.republish")])
    def republish(job: str) -> Republished:
        """Publish again what is not settled: for a broker that has lost it."""
        return Republished(job=job, republished=producer.republish(job))

    @app.get("/api/jobs/{job}/audit")
    def audit(job: str) -> Audit:
        """What the producer's store holds of a job."""
        return Audit(**producer.audit(job))

    return app


async def _body(request: Request, largest: int) -> bytes:
    body = bytearray()
    async for block in request.stream():
        body += block
        if len(body) > largest:
            raise BodyTooLarge(f"{largest:,} bytes are the most; push the tasks as {NDJSON}, or in several requests")
    return bytes(body)


def _model(kind: type[M], body: bytes) -> M:
    try:
        # orjson and not pydantic parses: as the sources do, so that a number means the same on every way in
        return kind.model_validate(orjson.loads(body))
    except orjson.JSONDecodeError as error:
        raise JobRefused(f"the body is no JSON: {error}") from error
    except ValidationError as error:
        said = (f"{'.'.join(map(str, e['loc'])) or 'the body'}: {e['msg']}" for e in error.errors())
        raise JobRefused("; ".join(said)) from error


async def _parts(request: Request) -> AsyncIterator[list[Any]]:
    """The tasks of a JSON Lines body, in parts, as they come in."""
    part: list[Any] = []
    size, tail, number = 0, b"", 0
    async for block in request.stream():
        *lines, tail = (tail + block).split(b"\n")
        if len(tail) > LINE_LIMIT:
            raise BodyTooLarge(f"line {number + len(lines) + 1} has more than {LINE_LIMIT >> 20} MiB")
        for line in lines:
            number += 1
            part += _task(line, number)
            size += len(line)
            if size >= PART_BYTES or len(part) >= PART_TASKS:
                yield part
                part, size = [], 0
    part += _task(tail, number + 1)
    if part:
        yield part


def _task(line: bytes, number: int) -> list[Any]:
    if not line.strip():
        return []
    try:
        return [orjson.loads(line)]
    except orjson.JSONDecodeError as error:
        raise JobRefused(f"line {number} is no JSON: {error}") from error
