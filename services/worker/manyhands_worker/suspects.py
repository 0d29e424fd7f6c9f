"""Suites that have ended a child, or maybe a worker: the task at fault is set aside, the others are kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from manyhands import logs, tracing
from manyhands.broker.protocol import Delivery, Outgoing
from manyhands.clock import Clock
from manyhands.codec import decode, encode
from manyhands.deadletters import HISTORY_LIMIT
from manyhands.errors import DecodeError, HandlerError
from manyhands.headers import number
from manyhands.messages import Suite
from manyhands_worker import frames
from manyhands_worker.findings import Findings, Problem, all_failed, problem
from manyhands_worker.frames import Part, Unit
from manyhands_worker.isolate import Death, Receipt, receipt, search
from manyhands_worker.report import Report, Station, earlier, halves, line, messages, raw_letter, subset, suspected

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

    def tell(death: Death, tasks: int) -> str:
        over = "judging it alone" if tasks == 1 else f"judging {tasks} tasks"
        return line("death", death.at, f"{death.how} over {over}, at most {death.peak_mib} MiB", station)

    log = _log.bind(job=suite.job, suite=suite.suite, stage=suite.stage, judge=suite.judge, attempt=suite.attempt,
                    **tracing.bound(delivery))  # fmt: skip
    try:
        if death.loading:
            raise _Loading(death)
        findings, killers = search(len(suite.positions), judge, batch=batch, first=death, tell=tell)
        log.warning("tasks set aside", positions=[suite.positions[i] for i in killers], cause=death.how)
    except _Loading as loading:
        error = HandlerError(f"{loading.death.how} while it made the judge {suite.judge}")
        log.warning("judge not made", error=str(error))
        found = problem(error, suite.attempt, suite.max_attempts, random)
        found = replace(found, exit=loading.death.exit, memory_mib=loading.death.peak_mib)
        findings = all_failed(len(suite.positions), found)
    return _concluded(suite, findings, version, started, headers, station, clock)


def moved(delivery: Delivery, station: Station, clock: Clock) -> Outgoing:
    """What came back so often that it is suspected, on its way to be tried; as it came, for that takes no decoding."""
    count = delivery.delivery_count
    _log.warning("suspected of killing workers", queue=delivery.queue, deliveries=count, **tracing.bound(delivery))
    headers = frames.kept(delivery.headers)
    said = f"{count} deliveries of its suite have come back, so that it is tried"
    return suspected(delivery, _count(headers, "mh-deliveries") + count, station, _noted(headers, said, station, clock))


def received(delivery: Delivery, station: Station, clock: Clock, *, counts_hand_backs: bool) -> Concluded | None:
    """What a suspect causes before it is judged; None when it is judged now."""
    deaths = delivery.delivery_count
    suite = _suite(delivery, station) if deaths else ""
    if not isinstance(suite, Suite) or station.names.suspects_queue(suite.judge) != delivery.queue:
        return None  # if there is something wrong with it, the child will say so
    headers = frames.kept(delivery.headers)
    deliveries, alone = _count(headers, "mh-deliveries") + deaths, _count(headers, "mh-alone")
    tasks = len(suite.positions)
    over = "it was judged alone" if tasks == 1 else f"{tasks} tasks were judged, it among them"
    said = f"{_times(deaths)} a worker ended while {over}"
    headers = _noted(headers, said, station, clock)
    log = _log.bind(job=suite.job, suite=suite.suite, tasks=tasks, deaths=deaths, **tracing.bound(delivery))
    match receipt(tasks, deaths, alone, counts_hand_backs=counts_hand_backs):
        case Receipt.TRY:
            return None
        case Receipt.NOTE:
            log.warning("a worker ended over a task alone", positions=suite.positions, in_all=alone + deaths)
            again = suspected(delivery, deliveries, station, {**headers, "mh-alone": alone + deaths})
            return Concluded(outgoing=[again])
        case Receipt.SPLIT:
            log.warning("suspect cut in halves")
            return Concluded(outgoing=halves(suite, deliveries, station, headers))
        case Receipt.SET_ASIDE:
            tries = alone + deaths
            how = f"{tries} workers ended while they judged it alone"
            log.warning("task set aside", positions=suite.positions, cause=how)
            findings = all_failed(1, Problem(code="worker-died", message=how, tries=tries))
            return _concluded(suite, findings, "", clock.now(), headers, station, clock)


def _noted(headers: dict[str, Any], said: str, station: Station, clock: Clock) -> dict[str, Any]:
    noted = line("noticed", clock.now(), said, station)
    return {**headers, "mh-history": [*earlier(headers), noted][-HISTORY_LIMIT:]}


def _count(headers: dict[str, Any], name: str) -> int:
    return number(headers.get(name)) or 0


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


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
