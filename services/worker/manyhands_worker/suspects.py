"""Suites that have ended a child or a worker: the task at fault is set aside, the others are kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from manyhands import logs, tracing
from manyhands.broker.protocol import Delivery, Outgoing
from manyhands.clock import Clock
from manyhands.codec import decode, encode
from manyhands.errors import DecodeError, HandlerError
from manyhands.messages import Suite
from manyhands_worker import frames
from manyhands_worker.findings import Findings, Problem, all_failed, problem
from manyhands_worker.frames import Part, Unit
from manyhands_worker.isolate import Death, Receipt, Suspicion, receipt, search
from manyhands_worker.report import Report, Station, halves, messages, raw_letter, subset

_log = logs.get(__name__)

#: Gives a suite to a child that lives and returns its reply, or how the child ended over it.
Ask = Callable[[Unit], "list[Any] | Death"]


class _Loading(Exception):  # it is what happened, not an error of ours
    """A child ended while it made a handler, of which no task is guilty."""

    def __init__(self, death: Death) -> None:
        self.death = death


@dataclass(frozen=True, slots=True, kw_only=True)
class Concluded:
    """What a suspect caused: what to publish, and counts for the metrics."""

    outgoing: Sequence[Outgoing]
    judge: str = "unknown"
    judged: int = 0
    failed: int = 0


def conclude(
    delivery: Delivery, death: Death, ask: Ask, station: Station, offers: frames.Offers, clock: Clock,
    random: Callable[[], float],
) -> Concluded:  # fmt: skip
    """Judge a suite over which a child ended: part by part, until the tasks at fault are known."""
    suite = _suite(delivery, station)
    if not isinstance(suite, Suite):
        return Concluded(outgoing=[raw_letter(delivery, suite, station, clock.now())])
    version, batch = offers.get(suite.judge, ("", False))
    headers = frames.kept(delivery.headers)
    started = clock.now()

    def judge(indices: Sequence[int]) -> Part | Death:
        part = encode(subset(suite, indices), limit=station.limit)
        reply = ask(Unit(part.body, part.type, part.content_encoding, headers, True))
        if isinstance(reply, Death):
            if reply.loading:
                raise _Loading(reply)
            return reply
        return Part(*reply[1:])

    log = _log.bind(job=suite.job, suite=suite.suite, stage=suite.stage, judge=suite.judge, attempt=suite.attempt,
                    **tracing.bound(delivery))  # fmt: skip
    try:
        if death.loading:
            raise _Loading(death)
        findings, killers = search(len(suite.positions), judge, batch=batch)
        log.warning("tasks set aside", positions=[suite.positions[i] for i in killers], cause=death.how)
    except _Loading as loading:
        error = HandlerError(f"{loading.death.how} while it made the judge {suite.judge}")
        log.warning("judge not made", error=str(error))
        findings = all_failed(len(suite.positions), problem(error, suite.attempt, suite.max_attempts, random))
    return _concluded(suite, findings, version, started, headers, station, clock)


def received(delivery: Delivery, least: Suspicion, station: Station, clock: Clock) -> Concluded | None:
    """What a suite causes that has been delivered before and came back by fault; None when it is simply judged."""
    suite = _suite(delivery, station)
    if not isinstance(suite, Suite) or station.names.tasks_queue(suite.judge) != delivery.queue:
        return None  # the child will say so
    headers = frames.kept(delivery.headers)
    carried = headers.get("mh-deliveries", 0)
    carried = carried if isinstance(carried, int) else 0
    log = _log.bind(job=suite.job, suite=suite.suite, **tracing.bound(delivery))
    match receipt(len(suite.positions), delivery.delivery_count, carried, least):
        case Receipt.JUDGE:
            return None
        case Receipt.SPLIT:
            log.warning("suite cut in halves", deliveries=delivery.delivery_count)
            return Concluded(outgoing=halves(suite, carried + delivery.delivery_count, station, headers))
        case Receipt.SET_ASIDE:
            deliveries = carried + delivery.delivery_count
            how = f"{deliveries} deliveries of it ended with their worker"
            log.warning("task set aside", positions=suite.positions, cause=how)
            findings = all_failed(1, Problem(code="worker-died", message=how))
            return _concluded(suite, findings, "", clock.now(), headers, station, clock)


def _suite(delivery: Delivery, station: Station) -> Suite | str:
    """The suite of a delivery, or why it is none."""
    try:
        message = decode(delivery.body, delivery.type, delivery.content_encoding, limit=station.limit)
    except DecodeError as error:
        return str(error)
    return message if isinstance(message, Suite) else f"a suite is expected here, not {delivery.type}"


def _concluded(
    suite: Suite, findings: Findings, version: str, started: float, headers: Any, station: Station, clock: Clock
) -> Concluded:
    report = Report(
        suite=suite, findings=findings, version=version, started=started, finished=clock.now(), headers=headers
    )
    outgoing = messages(report, station)
    failed = len(findings.problems)
    return Concluded(outgoing=outgoing, judge=suite.judge, judged=len(suite.positions) - failed, failed=failed)
