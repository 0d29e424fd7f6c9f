"""The aggregator's HTTP API; OpenAPI under ``/docs``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from manyhands.ops import Ops
from manyhands.settings import ApiSettings
from manyhands_aggregator import export, record
from manyhands_aggregator.deadlist import NoSuchLetter, Which
from manyhands_aggregator.office import Replayed
from manyhands_aggregator.replay import Versions
from manyhands_aggregator.service import Aggregator
from manyhands_service.audit import about, audited
from manyhands_service.web import application

#: What an answer may be.
AnswerType = Literal["choice", "choices", "number", "text", "json"]
#: Parameters that say which dead letters, and which versions of a handler.
WHICH, VERSIONS = ("job", "code", "cause", "until"), ("changed", "version")


class Progress(BaseModel):
    """How far a job is; rate in tasks a second, times in seconds since 1970."""

    job: str
    name: str
    state: Literal["open", "complete", "partial", "cancelled"]
    sealed: bool
    tasks: int
    answered: int
    failed: int
    cancelled: int
    open: int
    judgments: int
    rate: float
    eta_seconds: float | None
    opened: float | None
    ended: float | None
    seconds: float
    conserved: bool
    gold: int | None = None
    accuracy: float | None = None
    reason: str | None = None
    spent: float | None = None


class Page(BaseModel):
    """Answers in source order; ``next`` is the ``after`` of the next page."""

    answers: list[dict[str, Any]]
    next: int | None


class Reputation(BaseModel):
    """What a worker has shown for one type of answer; accuracy with bounds, newer jobs counting more.

    ``judgments``, and the ``compared`` among them, are those of all ``jobs``; the newest ended at ``last``.
    """

    worker: str
    type: str
    kind: Literal["person", "machine"]
    jobs: int
    judgments: int
    compared: int
    accuracy: float | None
    accuracy_low: float
    accuracy_high: float
    last: float


class Reputations(BaseModel):
    """Reputations in the order of names; ``next`` is the ``after`` of the next page, null behind the last."""

    reputations: list[Reputation]
    next: str | None


class Forgotten(BaseModel):
    """In how many jobs something was forgotten."""

    jobs: int


class Unserved(BaseModel):
    """Judges without a worker; null where the broker cannot be asked."""

    judges: list[str] | None


class Count(BaseModel):
    """How many were concerned."""

    letters: int


class NotSent(BaseModel):
    """A letter that could not be sent, and why."""

    letter: str
    error: str


class Refused(BaseModel):
    """How many could not be sent and stay on file; of a hundred at most is said why."""

    letters: int
    errors: list[NotSent]


class Sent(Count):
    """How many were sent; ``refused`` is absent where all were."""

    refused: Refused | None = None

    @classmethod
    def of(cls, replayed: Replayed) -> Sent:
        """What the office says, for the wire."""
        errors = [NotSent(letter=letter, error=error) for letter, error in replayed.errors.items()]
        refused = Refused(letters=replayed.refused, errors=errors) if replayed.refused else None
        return cls(letters=replayed.sent, refused=refused)


def _which(
    job: str | None = None,
    code: str | None = None,
    cause: Annotated[str | None, Query(description="As the groups of GET /api/dead have it.")] = None,
    until: Annotated[float | None, Query(description="Filed up to then; seconds since 1970.")] = None,
) -> Which:
    """Which letters a request is about."""
    return Which(job=job, code=code, cause=cause, until=until)


def _versions(
    changed: Annotated[bool, Query(description="Only a version that it did not fail with may judge it.")] = False,
    version: Annotated[str, Query(description="Only this version of the handler may judge it.")] = "",
) -> Versions:
    """Which versions of the handler may judge what a request replays."""
    return Versions(changed=changed, only=version)


def build(aggregator: Aggregator, settings: ApiSettings) -> FastAPI:
    """The application over an aggregator."""
    app = application("Manyhands aggregator", Ops(aggregator.checks), settings, status={NoSuchLetter: 404})

    @app.get("/api/jobs")
    def jobs() -> list[Progress]:
        """Every job with its progress, the newest first."""
        return [Progress(**row) for row in aggregator.jobs()]

    @app.get("/api/jobs/{job}")
    def job(job: str) -> Progress:
        """The progress of a job."""
        return Progress(**aggregator.progress(job))

    @app.get("/api/jobs/{job}/answers", response_model=Page)
    def answers(
        job: str,
        after: Annotated[int, Query(description="Answers behind this position.")] = -1,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
        wait: Annotated[float, Query(ge=0, le=60, description="Seconds to wait for the first answer.")] = 0,
    ) -> Response:
        """A page of settled answers in source order, up to the first that is still open."""
        found = aggregator.page(job, after=after, limit=limit, wait=wait)
        page = Page(answers=export.as_maps(found), next=found.positions[-1] if found.positions else None)
        return Response(page.model_dump_json(), media_type="application/json")  # else it would be checked once more

    @app.get("/api/jobs/{job}/answers.{kind}", response_class=StreamingResponse)
    def whole(job: str, kind: Literal["csv", "jsonl", "parquet"]) -> StreamingResponse:
        """Every answer as one file, streamed."""
        aggregator.progress(job)  # an unknown job is a 404 here, before the stream begins
        if kind == "parquet":
            return StreamingResponse(
                export.parquet_blocks(aggregator.answers(job)), media_type="application/vnd.apache.parquet"
            )
        blocks, media = export.STREAMS[kind]
        return StreamingResponse(blocks(aggregator.answers(job)), media_type=media)

    @app.get("/api/jobs/{job}/failed.csv", response_class=StreamingResponse)
    def failed(job: str) -> StreamingResponse:
        """The tasks without an answer, and why."""
        aggregator.progress(job)
        return StreamingResponse(export.failed_blocks(aggregator.answers(job)), media_type="text/csv")

    @app.get("/api/jobs/{job}/record")
    def of_record(job: str) -> dict[str, Any]:
        """What a bundle says of a job: what became of it, its job file, and the versions of what decided."""
        return aggregator.record(job)

    @app.get("/api/jobs/{job}/{what}.jsonl", response_class=StreamingResponse)
    def recorded(job: str, what: Literal["tasks", "judgments"]) -> StreamingResponse:
        """What the answers rest on, streamed by position: every task, or every judgment and failure that was kept."""
        aggregator.record(job)
        return StreamingResponse(record.STREAMS[what](aggregator.store, job), media_type="application/x-ndjson")

    @app.get("/api/jobs/{job}/tasks/{position}")
    def task(job: str, position: int) -> list[dict[str, Any]]:
        """Every judgment of one task: who said what, when, with which version."""
        return aggregator.provenance(job, position)

    @app.get("/api/jobs/{job}/judges")
    def judges(job: str) -> list[dict[str, Any]]:
        """How good each judge was: agreement with the answers, accuracy where the truth is known."""
        return aggregator.judges(job)

    @app.get("/api/jobs/{job}/agreement")
    def agreement(job: str) -> dict[str, Any] | None:
        """How far the judges agree beyond chance, on which options and tasks they do not; null with a single judge."""
        return aggregator.agreement(job)

    @app.get("/api/jobs/{job}/workers")
    def workers(job: str) -> list[dict[str, Any]]:
        """How good each worker is, machine or person: accuracy with bounds, what speaks against it, and the verdict."""
        return aggregator.workers(job)

    @app.get("/api/jobs/{job}/worker")
    def worker(job: str, name: str) -> dict[str, Any]:
        """The same of one worker, and what it says of which option."""
        return aggregator.worker(job, name)

    @app.get("/api/jobs/{job}/rewards")
    def rewards(job: str) -> dict[str, Any]:
        """What people have earned, and what an hour comes to."""
        return aggregator.rewards(job)

    @app.get("/api/jobs/{job}/unserved")
    def unserved(job: str) -> Unserved:
        """The job's judges for whom suites wait that no worker takes."""
        return Unserved(judges=aggregator.unserved(job))

    @app.get("/api/jobs/{job}/audit")
    def audit(job: str) -> dict[str, Any]:
        """The job's tasks counted from the rows, and whether they balance."""
        return aggregator.audit(job)

    @app.get("/api/reputations")
    def reputations(
        type_: Annotated[AnswerType | None, Query(alias="type", description="For answers of this type alone.")] = None,
        worker: Annotated[str | None, Query(description="Of one worker; of a person the id is enough.")] = None,
        after: Annotated[str, Query(description="Of workers behind this name.")] = "",
        limit: Annotated[int, Query(ge=1, le=10_000, description="Workers of a page.")] = 1000,
    ) -> Reputations:
        """What workers have shown in the jobs that have ended, by type of answer."""
        found, last = aggregator.reputations(after=after, limit=limit, type_=type_, worker=worker)
        return Reputations(reputations=[Reputation(**row) for row in found], next=last)

    @app.delete("/api/reputations", dependencies=[audited("worker.forget", "worker")])
    def forget(request: Request, worker: str) -> Forgotten:
        """Forget what a worker has shown in the jobs that have ended; of a person the id is enough."""
        count = aggregator.forget(worker)
        about(request, jobs=count)
        return Forgotten(jobs=count)

    @app.get("/api/dead")
    def dead(
        which: Annotated[Which, Depends(_which)], limit: Annotated[int, Query(ge=1, le=10_000)] = 100
    ) -> dict[str, Any]:
        """What was set aside: counts, times and versions by cause, and the newest letters."""
        return aggregator.office.letters(which, limit=limit)

    @app.get("/api/dead/{letter}")
    def dead_letter(letter: str) -> dict[str, Any]:
        """One dead letter whole."""
        return aggregator.office.letter(letter)

    @app.post(
        "/api/dead/replay",
        dependencies=[audited("dead.replay", *WHICH, *VERSIONS)],
        response_model_exclude_none=True,
    )
    def replay_all(
        request: Request,
        which: Annotated[Which, Depends(_which)],
        versions: Annotated[Versions, Depends(_versions)],
    ) -> Sent:
        """Send dead letters out again: those of a job, a code, a cause, or all there are."""
        replayed = aggregator.office.replay_all(which, versions)
        about(request, letters=replayed.sent)
        return Sent.of(replayed)

    @app.post(
        "/api/dead/{letter}/replay",
        dependencies=[audited("dead.replay", *VERSIONS)],
        response_model_exclude_none=True,
    )
    def replay(request: Request, letter: str, versions: Annotated[Versions, Depends(_versions)]) -> Sent:
        """Send one dead letter out again."""
        replayed = aggregator.office.replay(letter, versions)
        about(request, letters=replayed.sent)
        return Sent.of(replayed)

    @app.delete("/api/dead", dependencies=[audited("dead.drop", *WHICH)])
    def drop_all(
        request: Request,
        which: Annotated[Which, Depends(_which)],
        everything: Annotated[bool, Query(alias="all", description="Needed where nothing else is said.")] = False,
    ) -> Count:
        """Take dead letters from the file for good: those of a job, a code, a cause, or all there are."""
        if not everything and not (which.job or which.code or which.cause):
            raise HTTPException(422, "say which: job, code, cause, or all=true")
        count = aggregator.office.drop_all(which)
        about(request, letters=count)
        return Count(letters=count)

    @app.delete("/api/dead/{letter}", dependencies=[audited("dead.drop")])
    def drop(letter: str) -> Count:
        """Take one dead letter from the file for good."""
        return Count(letters=aggregator.office.drop(letter))

    return app
