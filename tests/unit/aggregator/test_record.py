"""What answers rest on, streamed out of every store: tasks, judgments, and what is said of the job."""

from __future__ import annotations

import json
from typing import Any

import pytest

from manyhands.errors import UnknownJob
from manyhands.messages import Failure
from manyhands_aggregator import record
from tests.unit.aggregator.kit import Bench, Job

LARGE = Failure(code="too-large", message="1 MiB")


def _lines(bench: Bench, job: Job, what: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in b"".join(record.STREAMS[what](bench.store, job.id)).splitlines()]


def test_tasks_and_judgments_stand_by_position(bench: Bench) -> None:
    """However they came: judges in the order of the plan, slots, a failure before the value that came later."""
    judges = [{"judge": "two", "judgments": 2, "price": 0.25}, "one"]
    job = Job(count=3, size=2, judges=judges, ids=["x", "y", "z"], truths=["a", None, b"\xff"], refused={1: LARGE})
    bench.take(*job.news())
    bench.take(job.judged(0, "a"), job.failed(0, judge="two", slot=1, attempt=3), job.judged(0, "b", judge="two"))
    bench.take(job.judged(0, "c", judge="two", slot=1))
    bench.take(job.cancelled())
    said = [(line["position"], line["judge"], line["slot"], line["value"]) for line in _lines(bench, job, "judgments")]
    assert said == [(0, "two", 0, "b"), (0, "two", 1, None), (0, "two", 1, "c"), (0, "one", 0, "a")]
    assert [line.get("cost") for line in _lines(bench, job, "judgments")] == [0.25, None, 0.25, None]
    assert _lines(bench, job, "tasks") == [
        {"position": 0, "id": "x", "suite": 0, "truth": "a"},
        {"position": 1, "id": "y", "suite": 0, "refused": {"code": "too-large", "message": "1 MiB"}},
        {"position": 2, "id": "z", "suite": 1, "truth": "b'\\xff'", "open": True},
    ]


def test_what_is_said_of_a_job_that_has_ended_never_changes(bench: Bench) -> None:
    """Whenever it is asked: nothing in it depends on the time."""
    job = Job(count=2)
    bench.take(*job.news(), job.judged(0))
    first = record.about(bench.store, job.id, 1e9)
    assert record.about(bench.store, job.id, 2e9) == first
    assert (first["state"], first["job_file"]["name"], first["tasks"]) == ("complete", "letters", 2)


def test_a_job_that_is_not_there(bench: Bench) -> None:
    """Each of them says so before anything is streamed."""
    with pytest.raises(UnknownJob):
        record.about(bench.store, "nobody", 0.0)
    for stream in record.STREAMS.values():
        with pytest.raises(UnknownJob):
            next(stream(bench.store, "nobody"))
