"""From findings to messages: judgments, retries and dead letters. Pure: the same findings give the same messages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from manyhands import deadletters, replays
from manyhands.broker.protocol import Delivery, Outgoing
from manyhands.codec import BODY_LIMIT, Encoded, encode
from manyhands.deadletters import HISTORY_LIMIT, Cause
from manyhands.errors import TooLarge
from manyhands.messages import PUBLISHED_AT, Failure, Judgments, Message, Suite
from manyhands.topology import Names
from manyhands.tracing import carried
from manyhands_worker.findings import Findings, Problem
from manyhands_worker.judging import packable

#: Different errors of one attempt that the history keeps, and characters of each.
LINES, LINE = 5, 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Station:
    """Where it is judged, and by which rules."""

    names: Names
    worker: str
    host: str
    limit: int = BODY_LIMIT


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A judged suite, its handler's version, the times in seconds since 1970, and the headers it came with."""

    suite: Suite
    findings: Findings
    version: str
    started: float
    finished: float
    headers: Mapping[str, Any]


def messages(report: Report, station: Station) -> list[Outgoing]:
    """All that is to be published of a judged suite; when it is confirmed, the suite may be acknowledged.

    A value that cannot be sent becomes a problem of its task in ``report.findings``.
    """
    out = [_judgments(report, station, part) for part in _sendable(report, station)]
    if report.findings.problems:
        out.extend(_retries(report, station))
        out.extend(_letters(report, station))
    return out


def _sendable(report: Report, station: Station) -> list[Encoded]:
    findings = report.findings
    indices: Sequence[int] = range(len(findings.values))
    retried = {i for i, p in findings.problems.items() if p.retry is not None}
    if retried:
        indices = [i for i in indices if i not in retried]
    if not indices:
        return []

    def make(part: Sequence[int]) -> Judgments:
        return _message(report, station, part)

    def all_of_it() -> list[Encoded]:
        return [one for part in _by_person(findings, indices) for one in _fitting(make, part, station.limit)]

    try:
        return all_of_it()
    except (TypeError, ValueError, OverflowError):
        # only now, since looking at every value costs more than judging it may have
        for i, unsendable in packable(findings.values).items():
            _spoil(findings, i, "not-plain", str(unsendable))
    except TooLarge:
        pass
    for i in indices:
        try:
            encode(make([i]), limit=station.limit)
        except TooLarge as error:
            _spoil(findings, i, "too-large", str(error))
    return all_of_it()


def _by_person(findings: Findings, indices: Sequence[int]) -> Iterable[Sequence[int]]:
    """The tasks in parts, one for each person who judged some of them: a message has one worker."""
    if findings.workers is None:
        return [indices]
    parts: dict[str | None, list[int]] = {}
    for i in indices:
        parts.setdefault(findings.workers[i], []).append(i)
    return parts.values()


def _spoil(findings: Findings, index: int, code: str, message: str) -> None:
    findings.values[index] = None
    if findings.confidences is not None:
        findings.confidences[index] = None
    findings.problems[index] = Problem(code=code, message=message)


def _message(report: Report, station: Station, part: Sequence[int]) -> Judgments:
    suite, findings = report.suite, report.findings
    positions, values, confidences = suite.positions, findings.values, findings.confidences
    costs = findings.costs
    if len(part) != len(positions):
        positions, values = [positions[i] for i in part], [values[i] for i in part]
        confidences = None if confidences is None else [confidences[i] for i in part]
        costs = None if costs is None else [costs[i] for i in part]
    problems = findings.problems
    errors = {
        suite.positions[i]: Failure(code=problems[i].code, message=problems[i].message) for i in part if i in problems
    } if problems else {}  # fmt: skip
    return Judgments(
        job=suite.job, suite=suite.suite, stage=suite.stage, judge=suite.judge, slot=suite.slot,
        worker=(findings.workers[part[0]] if findings.workers else None) or station.worker, positions=positions,
        values=values, confidences=confidences, errors=errors, costs=costs,
        version=report.version, attempt=suite.attempt, started=report.started, finished=report.finished,
    )  # fmt: skip


def _judgments(report: Report, station: Station, encoded: Encoded) -> Outgoing:
    route = station.names.to_aggregator(report.suite.job, report.suite.suite)
    return _outgoing(route, encoded, carried(report.headers))


def _retries(report: Report, station: Station) -> Iterator[Outgoing]:
    """The suites of those that are tried again, one for each rung of the ladder."""
    suite, problems = report.suite, report.findings.problems
    groups: dict[tuple[float, bool], list[int]] = {}
    for i, problem in problems.items():
        if problem.retry is not None:
            groups.setdefault((problem.retry, problem.counts), []).append(i)
    for (rung, counts), indices in groups.items():
        headers = {**_kept(report.headers), "mh-history": _history(report, station, indices)}

        def make(part: Sequence[int], attempt: int = suite.attempt + counts) -> Suite:
            return replace(subset(suite, part), attempt=attempt)

        for encoded in _fitting(make, indices, station.limit):
            yield _outgoing(station.names.to_retry(suite.judge, rung), encoded, headers)


def _letters(report: Report, station: Station) -> Iterator[Outgoing]:
    """The dead letters of those that failed for good, one for each cause."""
    suite, problems = report.suite, report.findings.problems
    groups: dict[tuple[object, ...], list[int]] = {}
    for i, problem in problems.items():
        if problem.retry is None and problem.letter:
            # one that killed its child has a history of its own, and so a letter
            same = problem.code, problem.message, problem.exit, problem.memory_mib, tuple(problem.history)
            groups.setdefault(same, []).append(i)
    for indices in groups.values():
        problem = problems[indices[0]]
        cause = Cause(
            code=problem.code, error=problem.message, at=report.finished, traceback=problem.traceback,
            version=report.version, worker=station.worker, host=station.host,
            attempts=suite.attempt - 1 + problem.tries,
            history=[*earlier(report.headers), *problem.history], told=True, exit=problem.exit,
            memory_mib=problem.memory_mib or None,
        )  # fmt: skip
        yield from letters(suite, indices, cause, station, report.headers)


def letters(
    suite: Suite, indices: Sequence[int], cause: Cause, station: Station, headers: Mapping[str, Any]
) -> Iterator[Outgoing]:
    """Dead letters for some tasks of a suite: one, or several where one would be too large."""
    try:
        letter = deadletters.suite_letter(station.names, subset(suite, indices), cause, limit=station.limit)
    except TooLarge:
        if len(indices) == 1:
            raise
        middle = len(indices) // 2
        yield from letters(suite, indices[:middle], cause, station, headers)
        yield from letters(suite, indices[middle:], cause, station, headers)
    else:
        yield replace(letter, headers={**carried(headers), **letter.headers})


def raw_letter(delivery: Delivery, said: str, station: Station, now: float, code: str = "undecodable") -> Outgoing:
    """The dead letter of what is no suite, with its bytes as they came, under the judge whose queue it came from.

    Not under the key it came with: a worker may set aside for its own judges only.
    """
    cause = Cause(code=code, error=said, at=now, worker=station.worker, host=station.host)
    return deadletters.raw_letter(station.names, "tasks", replace(delivery, key=judge_of(delivery)), cause)


def judge_of(delivery: Delivery) -> str:
    """The judge in the name of the queue that a delivery came from."""
    return delivery.queue.rpartition(".")[2]


def suspected(delivery: Delivery, deliveries: int, station: Station, headers: Mapping[str, Any]) -> Outgoing:
    """A suite as it came, sent on to be tried; so many ``deliveries`` have ended with their worker so far."""
    exchange, key = station.names.to_suspects(judge_of(delivery))
    return Outgoing(
        exchange=exchange, key=key, body=delivery.body, type=delivery.type or "",
        content_encoding=delivery.content_encoding, headers={**headers, "mh-deliveries": deliveries},
    )  # fmt: skip


def halves(suite: Suite, deliveries: int, station: Station, headers: Mapping[str, Any]) -> list[Outgoing]:
    """The two halves of a suspect, to be tried each; so many ``deliveries`` have ended with their worker so far."""
    middle = len(suite.positions) // 2
    kept = {**headers, "mh-deliveries": deliveries}
    return [
        _outgoing(station.names.to_suspects(suite.judge), encode(subset(suite, part), limit=station.limit), kept)
        for part in (range(middle), range(middle, len(suite.positions)))
    ]


def subset(suite: Suite, indices: Sequence[int]) -> Suite:
    """The suite with some of its tasks only."""
    if len(indices) == len(suite.positions):
        return suite
    return replace(
        suite, positions=[suite.positions[i] for i in indices], payloads=[suite.payloads[i] for i in indices]
    )


def earlier(headers: Mapping[str, Any]) -> list[str]:
    """The history that a suite came with."""
    history = headers.get("mh-history", ())
    return [str(line) for line in history] if isinstance(history, (list, tuple)) else []


def line(what: str, at: float, said: str, station: Station) -> str:
    """A line of the history."""
    when = datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
    return f"{what} at {when} by {station.worker} on {station.host}: {said}"[:LINE]


def _history(report: Report, station: Station, indices: Sequence[int]) -> list[str]:
    problems = report.findings.problems
    said = list(dict.fromkeys(f"{problems[i].code}: {problems[i].message}" for i in indices))
    attempt = f"attempt {report.suite.attempt}"
    lines = [line(attempt, report.finished, one, station) for one in said[:LINES]]
    if len(said) > LINES:
        lines.append(f"and {len(said) - LINES} other errors")
    return (earlier(report.headers) + lines)[-HISTORY_LIMIT:]


def _kept(headers: Mapping[str, Any]) -> dict[str, Any]:
    """Of the headers of a suite those that it keeps when it is tried again."""
    return carried(headers) | {key: headers[key] for key in (PUBLISHED_AT, *replays.HEADERS) if key in headers}


def _fitting(make: Callable[[Sequence[int]], Message], indices: Sequence[int], limit: int) -> Iterator[Encoded]:
    """The message of these tasks, or several where one would be too large."""
    try:
        encoded = encode(make(indices), limit=limit)
    except TooLarge:
        if len(indices) == 1:
            raise
        middle = len(indices) // 2
        yield from _fitting(make, indices[:middle], limit)
        yield from _fitting(make, indices[middle:], limit)
    else:
        yield encoded


def _outgoing(route: tuple[str, str], encoded: Encoded, headers: Mapping[str, Any]) -> Outgoing:
    exchange, key = route
    return Outgoing(
        exchange=exchange, key=key, body=encoded.body, type=encoded.type,
        content_encoding=encoded.content_encoding, headers=headers,
    )  # fmt: skip
