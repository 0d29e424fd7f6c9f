"""A child process: reads suites from its pipe, judges them, writes what came of it. All that is slow happens here."""

from __future__ import annotations

import contextlib
import dataclasses
import faulthandler
import gc
import os
import random
import select
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence, Set
from multiprocessing.connection import Connection
from typing import Any

from manyhands.codec import decode
from manyhands.errors import DecodeError, HandlerError, ManyhandsError
from manyhands.handlers import Asked, ask
from manyhands.messages import Suite
from manyhands.topology import Names
from manyhands_worker import frames
from manyhands_worker.findings import Findings, Problem, all_failed, other_version, problem
from manyhands_worker.frames import Setup, Unit
from manyhands_worker.judging import Judge, packable, sort
from manyhands_worker.offer import Offer, make, offers
from manyhands_worker.report import Report, Station, messages

#: Seconds for which replies are gathered. What a child has not yet told is judged again should it die.
GATHER = 0.005


class Replies:
    """Replies on their way, a few at a time; none waits longer than ``GATHER``, whatever is judged next."""

    def __init__(self, line: Connection) -> None:
        self._line = line
        self._lock = threading.Lock()
        self._gathered: list[list[Any]] = []
        self._some = threading.Event()
        threading.Thread(target=self._see_to_it, name="replies", daemon=True).start()

    def add(self, reply: list[Any]) -> None:
        """Add a reply; it is sent with those that follow soon."""
        with self._lock:
            self._gathered.append(reply)
        self._some.set()

    def send(self) -> None:
        """Send what is gathered."""
        with self._lock:
            if self._gathered:
                self._line.send_bytes(frames.pack(self._gathered))
                self._gathered = []

    def note(self, what: int, value: int) -> None:
        """Tell the worker something beside the replies."""
        with self._lock:
            self._line.send_bytes(frames.pack([*self._gathered, [frames.NOTE, what, value]]))
            self._gathered = []

    def _see_to_it(self) -> None:
        while self._some.wait():
            self._some.clear()
            time.sleep(GATHER)
            with contextlib.suppress(OSError):  # the worker is gone, and this process with it
                self.send()


class Bench:
    """Where suites are judged: the judges of this process, and the rules by which their findings are told."""

    def __init__(self, setup: Setup, replies: Replies, groups: set[int]) -> None:
        self._replies, self._groups = replies, groups
        self.offers: dict[str, Offer] = offers(setup, self._group)
        self._judges: dict[str, Judge] = {}
        self._station = Station(
            names=Names(namespace=setup.namespace, partitions=setup.partitions), worker=setup.worker, host=setup.host,
            limit=setup.body_limit,
        )  # fmt: skip

    def judge(self, unit: Unit) -> list[Any]:
        """The reply to a suite as it came."""
        try:
            suite = decode(unit.body, unit.type, unit.content_encoding, limit=self._station.limit)
        except DecodeError as error:
            return [frames.REFUSED, "undecodable", str(error)]
        if not isinstance(suite, Suite):
            return [frames.REFUSED, "undecodable", f"a suite is expected here, not {unit.type}"]
        if suite.judge not in self.offers:
            # it speaks for no judge but its own, so it can say nothing of these tasks
            return [frames.REFUSED, "unknown-judge", f"this worker does not serve the judge {suite.judge}"]
        started = time.time()
        findings, seconds = self._find(suite, unit.headers, started)
        if unit.part:
            return self._part(findings, seconds)
        report = Report(
            suite=suite, findings=findings, version=self.offers[suite.judge].version, headers=unit.headers,
            started=started, finished=started + seconds,
        )  # fmt: skip
        outgoing = [frames.flat(message) for message in messages(report, self._station)]
        retries: dict[str, int] = {}
        for one in findings.problems.values():
            if one.retry is not None:
                retries[f"{one.retry:g}s"] = retries.get(f"{one.retry:g}s", 0) + 1
        failed = len(findings.problems)
        judged = len(suite.positions) - failed
        used = self._used(suite.judge)
        trouble = getattr(self._judges.get(suite.judge), "trouble", "")
        return [frames.JUDGED, suite.judge, judged, failed, started, seconds, retries, outgoing, used, trouble]

    def _find(self, suite: Suite, headers: Mapping[str, Any], now: float) -> tuple[Findings, float]:
        count = len(suite.positions)
        if suite.expires_at is not None and now > suite.expires_at:
            late = Problem(code="expired", message="nobody wanted it any more when it was its turn", letter=False)
            return all_failed(count, late), 0.0
        other = other_version(headers, self.offers[suite.judge].version, now)
        if other is not None:
            return all_failed(count, other), 0.0
        try:
            judge = self._judges.get(suite.judge) or self._make(suite.judge)
        except HandlerError as error:
            return all_failed(count, self._problem(error, suite)), 0.0
        ask(Asked(suite.job, suite.suite, suite.stage, suite.slot, suite.attempt))
        begun = time.perf_counter()
        said = judge(suite.positions, suite.payloads)
        seconds = time.perf_counter() - begun
        values, confidences, errors, costs, workers = sort(said)
        findings = Findings(values=values, confidences=confidences, costs=costs, workers=workers)
        if errors:
            # the same rung for all that failed alike, so that they travel together
            chance = random.random()
            findings.problems = {
                i: problem(error, suite.attempt, suite.max_attempts, lambda: chance) for i, error in errors.items()
            }
        return findings, seconds

    def _used(self, name: str) -> dict[str, float]:
        tell = getattr(self._judges.get(name), "used", None)
        return tell() if tell is not None else {}

    def _make(self, name: str) -> Judge:
        self._replies.note(frames.LOADING, 1)
        try:
            self._judges[name] = make(name, self.offers[name])  # when it raises that costs its suites an attempt
        finally:
            self._replies.note(frames.LOADED, 1)
        gc.collect()
        gc.freeze()  # a model's objects are there for good: the collector need not walk them again
        return self._judges[name]

    def _problem(self, error: ManyhandsError, suite: Suite) -> Problem:
        return problem(error, suite.attempt, suite.max_attempts, random.random)

    def _part(self, findings: Findings, seconds: float) -> list[Any]:
        for i, error in packable(findings.values).items():
            findings.problems[i] = Problem(code="not-plain", message=str(error))
        problems = {i: list(dataclasses.astuple(one)) for i, one in findings.problems.items()}
        return [frames.PART, findings.values, findings.confidences, problems, seconds, findings.costs, findings.workers]

    def _group(self, group: int, runs: bool) -> None:
        (self._groups.add if runs else self._groups.discard)(group)
        self._replies.note(frames.STARTED if runs else frames.ENDED, group)

    def hurry(self) -> None:
        """The worker stops: what is begun is finished, and no more is begun by judges that can leave off."""
        for judge in tuple(self._judges.values()):
            if hasattr(judge, "hurry"):
                judge.hurry()

    def close(self) -> None:
        """End what the judges hold."""
        for judge in self._judges.values():
            if hasattr(judge, "close"):
                judge.close()


def serve(line: Connection, bench: Bench, replies: Replies) -> None:
    """Judge what comes, until the worker's last word."""
    while (raw := line.recv_bytes()) != frames.STOP:
        for row in frames.unpack(raw):
            replies.add(bench.judge(Unit(*row)))
        replies.send()


def main(arguments: Sequence[str]) -> None:
    """The process: its one argument is the number of the pipe's file descriptor."""
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)  # the worker decides when its children end
    faulthandler.enable()
    fd = int(arguments[0])
    os.set_inheritable(fd, False)
    line = Connection(fd)
    setup = Setup(**frames.unpack(line.recv_bytes()))
    sys.path[:] = setup.path  # as the worker's, so that a module means the same here
    if setup.llm:  # for every thread that starts from here on: one alone waits for it
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    replies, groups = Replies(line), set[int]()
    # before the handlers are imported, which may take as long as judging
    threading.Thread(target=_die_with_worker, args=(fd, groups), name="worker's end", daemon=True).start()
    try:
        bench = Bench(setup, replies, groups)
    except HandlerError as error:
        line.send_bytes(frames.pack([[frames.FAILED, error.detail]]))
        return
    if setup.llm:
        threading.Thread(target=_hurry, args=(bench,), name="hurry", daemon=True).start()
    gc.collect()
    gc.freeze()
    offered = {name: [offer.version, offer.batch] for name, offer in bench.offers.items()}
    line.send_bytes(frames.pack([[frames.READY, offered]]))
    try:
        serve(line, bench, replies)
    except (EOFError, OSError):
        pass  # the worker is gone
    finally:
        bench.close()


def _hurry(bench: Bench) -> None:
    """Have judges leave off when the worker says so; no handler of a signal, for the main thread may wait in a lock."""
    while True:
        signal.sigwait({signal.SIGUSR1})
        bench.hurry()


def _die_with_worker(fd: int, groups: Set[int]) -> None:
    """End the process when the worker's end of the pipe closes, even in the middle of a handler that never returns.

    The process groups of its judges that still run end with it.
    """
    poll = select.poll()
    poll.register(fd, 0)  # no event but the hang-up, which is always told
    poll.poll()
    for group in tuple(groups):  # which the judges go on changing
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
    os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
