"""The messages that cross the wire: frozen columns of plain values, nothing that runs.

A suite holds lists, so that a task costs bytes and not a map. ``docs/wire-format.md`` is the normative text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

#: A plain value: None, bool, int, float, str, bytes, or a list or string-keyed map of them.
Plain = Any
#: A job's id. Whatever else stands there is forged, and stores differ in which texts they take as a key.
JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,199}")
#: A worker's id: short, since every judgment is remembered by it, and without control characters, which stores refuse.
WORKER_ID = re.compile(r"[^\x00-\x1f\x7f-\x9f]{0,200}")
#: Tries of a task where a suite says nothing of them.
MAX_ATTEMPTS = 3
#: The header with the time at which the producer published a suite: seconds since 1970, as text.
PUBLISHED_AT = "mh-published"


#: What a task of gold that was mixed in says as its id: no row of a source can have it.
GOLD_ID = "\0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a task has no value: a short stable code and a sentence."""

    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """Tasks delivered together to one judge.

    ``positions`` and ``payloads`` have the same length; ``attempt`` counts from 1, and a task that fails in the
    ``max_attempts``-th has failed for good; ``spec`` is the digest of the job file; ``expires_at`` is a time in seconds
    since 1970 after which nobody wants the judgments.
    """

    job: str
    suite: int
    stage: int
    judge: str
    slot: int
    positions: Sequence[int]
    payloads: Sequence[Plain]
    attempt: int = 1
    spec: str = ""
    expires_at: float | None = None
    max_attempts: int = MAX_ATTEMPTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgments:
    """What one worker says of the tasks of one suite.

    ``values`` (and ``confidences``, 0..1, where given) stand beside ``positions``; a position in ``errors`` failed for
    good and its value is None. ``costs``, where given, is what each cost in the job's money, from 0. ``started`` and
    ``finished`` are seconds since 1970. A judge that was sent the suite for the ``attempt``-th time says so.
    """

    job: str
    suite: int
    stage: int
    judge: str
    slot: int
    worker: str
    positions: Sequence[int]
    values: Sequence[Plain]
    confidences: Sequence[float | None] | None = None
    errors: Mapping[int, Failure] = field(default_factory=dict)
    version: str = ""
    attempt: int = 1
    started: float = 0.0
    finished: float = 0.0
    costs: Sequence[float | None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened to a job, for whoever it concerns; ``data`` is the event's own map."""

    name: str
    job: str
    data: Mapping[str, Plain] = field(default_factory=dict)


Message = Suite | Judgments | Event

#: The producer says a job is open; data: spec (the job file as a map), digest.
JOB_OPENED = "job.opened"
#: The producer has cut suites; data: suites, firsts, counts, and per suite ids, truths and refused (or None).
SUITES_OPENED = "suites.opened"
#: The producer says no more tasks come; data: tasks, suites.
JOB_SEALED = "job.sealed"
#: A person or a bad source ended the job; data: reason.
JOB_CANCELLED = "job.cancelled"
#: The aggregator has an answer or a failure for each task of these suites; data: suites.
SUITES_SETTLED = "suites.settled"
#: The aggregator needs these positions judged again; data: suite, stage, judge, slot, positions, attempt, reason.
SUITE_ESCALATED = "suite.escalated"
#: A job's rules act on a worker, or no longer do; data: worker, action, reasons, judgments, accuracy with its bounds.
WORKER_RATED = "worker.rated"
#: The aggregator has ended the job; data: state, tasks, answered, failed, cancelled.
JOB_COMPLETED = "job.completed"
