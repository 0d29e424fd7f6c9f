"""What the producer says of a job, read from its events: checked to the last value, since no schema guards the wire."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgpack

from manyhands.errors import SpecError
from manyhands.messages import JOB_CANCELLED, JOB_ID, JOB_OPENED, JOB_SEALED, SUITES_OPENED, Event, Failure
from manyhands.spec import INFERENCE, received
from manyhands_aggregator.decide import Decision
from manyhands_aggregator.suite import pack_answers, pack_failures

#: Numbers on the wire stay below this, see the codec.
LIMIT = 1 << 53
#: The most tasks of a suite, as in the job file.
LARGEST = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A job and its job file, packed; ``overdue_at`` is its deadline, if it has one.

    ``fits`` says that its answers are gone over as a whole before it ends.
    """

    job: str
    spec: str
    opened: float
    overdue_at: float | None
    fits: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Announced:
    """Suites of a job, as rows of the table of suites; and its ``total`` of tasks, where that is known already."""

    job: str
    rows: Sequence[Mapping[str, Any]]
    total: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """A job's total."""

    job: str
    tasks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """A job's end before its time, with its total at that moment."""

    job: str
    tasks: int
    reason: str


News = Opened | Announced | Sealed | Cancelled


def read(event: Event) -> News:
    """The news of an event.

    Raises:
        ValueError: it is none that the aggregator is told, or its data are not what its name promises.
    """
    if event.name not in _READ:
        raise ValueError(f"{event.name[:100]!r} is no event for the aggregator")
    if not JOB_ID.fullmatch(event.job):
        raise ValueError("a job's id has letters, digits, _ . and -, at most 200")
    try:
        return _READ[event.name](event.job, event.data)
    except KeyError as error:
        raise ValueError(f"{event.name} lacks {error.args[0]!r}") from error
    except (TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ValueError(f"{event.name}: {error}"[:500]) from error


def _opened(job: str, data: Mapping[str, Any]) -> Opened:
    try:
        spec = received(dict(data["spec"]), file=job)
    except SpecError as error:
        raise ValueError(str(error)) from error
    packed = spec.model_dump_json(by_alias=True, exclude_none=True)
    received(packed)  # what the store will give back must be a job file too
    opened = data["opened"]
    if type(opened) not in (int, float) or not math.isfinite(opened):
        raise ValueError("opened is a time in seconds")
    overdue_at = None if spec.deadline is None else opened + spec.deadline
    return Opened(job=job, spec=packed, opened=float(opened), overdue_at=overdue_at, fits=spec.decide_by in INFERENCE)


def _announced(job: str, data: Mapping[str, Any]) -> Announced:
    suites, firsts, counts = (_whole(data[key], key) for key in ("suites", "firsts", "counts"))
    others = [data[key] for key in ("ids", "truths", "refused")]
    if {len(suites)} != {len(column) for column in (firsts, counts, *others)}:
        raise ValueError("its columns differ in length")
    if len(set(suites)) != len(suites):
        raise ValueError("it names a suite twice")
    total = None if data.get("total") is None else _whole([data["total"]], "total")[0]
    rows = [_row(job, *row) for row in zip(suites, firsts, counts, *others, strict=True)]
    return Announced(job=job, rows=rows, total=total)


def _row(job: str, suite: int, first: int, count: int, ids: Any, truths: Any, refused: Any) -> Mapping[str, Any]:
    if not 1 <= count <= LARGEST:
        raise ValueError(f"suite {suite} has {count} tasks; there are 1 to {LARGEST:,}")
    for name, column in (("ids", ids), ("truths", truths)):
        if column is not None and (not isinstance(column, list) or len(column) != count):
            raise ValueError(f"the {name} of suite {suite} are no list of {count}")
    if ids is not None and not set(map(type, ids)) <= {str, type(None)}:
        raise ValueError(f"an id of suite {suite} is no text")
    row = {
        "job": job, "suite": suite, "first": first, "count": count, "sent": count,
        "ids": _packed(ids), "truths": _packed(truths), "refused": None, "answers": None, "failed": 0, "gold": 0,
    }  # fmt: skip
    if refused:
        failures = {p: Failure(code=str(f["code"]), message=str(f["message"])) for p, f in refused.items()}
        if any(type(p) is not int or not first <= p < first + count for p in failures):
            raise ValueError(f"suite {suite} refuses positions that it does not have")
        row |= {"sent": count - len(failures), "refused": pack_failures(failures)}
        if len(failures) == count:  # nobody will ever judge it
            errors = {position - first: failure for position, failure in failures.items()}
            answers = pack_answers(Decision([None] * count, [None] * count, [0] * count, errors))
            gold = sum(truth is not None for truth in truths or ())
            row |= {"answers": answers, "failed": count, "gold": gold}
    return row


def _packed(column: list[Any] | None) -> bytes | None:
    packed: bytes | None = None if column is None else msgpack.packb(column)
    return packed


def _whole(column: Any, key: str) -> list[int]:
    if not isinstance(column, list) or not set(map(type, column)) <= {int}:
        raise ValueError(f"{key} are no whole numbers")
    if column and not 0 <= min(column) <= max(column) < LIMIT:
        raise ValueError(f"{key} are out of range")
    return column


def _sealed(job: str, data: Mapping[str, Any]) -> Sealed:
    return Sealed(job=job, tasks=_whole([data["tasks"]], "tasks")[0])


def _cancelled(job: str, data: Mapping[str, Any]) -> Cancelled:
    reason = str(data.get("reason") or "")[:1000].replace("\0", "")
    return Cancelled(job=job, tasks=_whole([data["tasks"]], "tasks")[0], reason=reason)


_READ: dict[str, Callable[[str, Mapping[str, Any]], News]] = {
    JOB_OPENED: _opened,
    SUITES_OPENED: _announced,
    JOB_SEALED: _sealed,
    JOB_CANCELLED: _cancelled,
}
