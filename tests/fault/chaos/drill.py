"""The drill: everything started, the job submitted, the storm let loose; then the reckoning."""

from __future__ import annotations

import csv
import hashlib
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.e2e.processes import command
from tests.fault.chaos.crew import Replica
from tests.fault.chaos.faults import Stage, Storm
from tests.fault.chaos.handlers import value
from tests.fault.chaos.work import EARNED, HARD_LIMIT, TIMES, Work, work
from tests.fault.proxy import Proxy
from tests.services import Postgres, RabbitMQ, private_postgres, private_rabbitmq, wait_until

#: Replicas of each service, and children of each worker.
REPLICAS, CHILDREN = 2, 2
#: Seconds between two faults, at least and at most.
BETWEEN = (1.0, 2.0)
#: Seconds within which everything is well again once the storm is over, and the job done.
PATIENCE = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How long the storm lasts, in seconds, over how many tasks; ``seed`` decides on the killers and the faults."""

    seconds: float
    tasks: int
    seed: int
    quiet: bool = False


@dataclass(slots=True, kw_only=True)
class Found:
    """What became of the tasks, by the answers file alone."""

    answered: int = 0
    wrong: int = 0
    failed: set[int] = field(default_factory=set)
    missing: int = 0
    counted_twice: int = 0
    judgments: int = 0
    digest: str = ""


def reckon(lines: Iterator[str], known: Work) -> Found:
    """Check every row of the answers against the value known beforehand; rows stand in the order of positions."""
    found, digest, at = Found(), hashlib.sha256(), 0
    for row in csv.DictReader(lines):
        n = int(row["id"])
        found.counted_twice += n < at  # a row of a task that was there before
        found.missing += max(0, n - at)
        at = max(at, n + 1)
        digest.update(f"{n},{row['answer']}\n".encode())
        if row["answer"] == "":
            found.failed.add(n)
            continue
        found.answered += 1
        found.wrong += float(row["answer"]) != value(n)
        found.counted_twice += int(row["judgments"]) > TIMES
        found.judgments += int(row["judgments"])
    found.missing += known.tasks - at
    found.digest = digest.hexdigest()
    return found


class Drill:
    """One drill from its start to its line of JSON."""

    def __init__(self, plan: Plan, folder: Path, say: Callable[[str], None]) -> None:
        self._plan, self._folder, self._say = plan, folder, say
        self._work = work(plan.tasks, plan.seconds, REPLICAS * CHILDREN, plan.seed)
        self._replicas: list[Replica] = []
        self._env: dict[str, str] = {}
        self._job = ""

    def run(self) -> dict[str, Any]:
        """Run it; what is printed of it."""
        began = time.monotonic()
        with ExitStack() as held:
            self._say("starting broker and store")
            broker, store = held.enter_context(private_rabbitmq()), held.enter_context(private_postgres())
            to_broker, to_store = held.enter_context(Proxy(broker.url)), held.enter_context(Proxy(store.database()))
            held.callback(self._end)
            self._start(to_broker.url, to_store.url)
            broker.settle()
            self._job = self._command("submit", str(self._job_file))["job"]
            stage = Stage(
                replicas=self._replicas, broker=broker, store=store, to_broker=to_broker, to_store=to_store,
                chance=random.Random(self._plan.seed),
            )  # fmt: skip
            storm = Storm(stage)
            if not self._plan.quiet:
                self._let_loose(storm, broker, store)
            return self._line(storm.counts, self._finish(), time.monotonic() - began, broker)

    # -- before --------------------------------------------------------------------------------------------------------

    def _start(self, broker: str, store: str) -> None:
        self._env = {
            "MANYHANDS_BROKER": broker, "MANYHANDS_STORE": store, "MANYHANDS_SOURCE_ROOTS": str(self._folder),
            "MANYHANDS_HARD_LIMIT": str(HARD_LIMIT), "MANYHANDS_CHILDREN": str(CHILDREN),
        }  # fmt: skip
        handlers = ("--handlers", str(self._folder / "handlers.py"))
        self._job_file = self._work.write(self._folder)
        for service, options in (("producer", ()), ("aggregator", ()), ("worker", handlers)):
            for number in range(REPLICAS):
                replica = Replica(service, number, options, self._env, self._folder)
                self._replicas.append(replica)
                replica.start()
        self._all_ready()
        self._say(f"{len(self._replicas)} processes ready")

    def _all_ready(self) -> None:
        def look() -> bool:
            for replica in self._replicas:
                replica.watch()
            return all(replica.ready() for replica in self._replicas)

        wait_until(look, 120, "every process to be ready")

    def _command(self, *arguments: str) -> Any:
        for service in ("producer", "aggregator"):
            up = next(r for r in self._replicas if r.service == service and r.ready())
            self._env[f"MANYHANDS_{service.upper()}_URL"] = up.url
        done = command(*arguments, "--json", env=self._env)
        if not done.stdout:
            raise RuntimeError(f"manyhands {' '.join(arguments)}: {done.stderr}")
        return json.loads(done.stdout)

    # -- the storm -----------------------------------------------------------------------------------------------------

    def _let_loose(self, storm: Storm, broker: RabbitMQ, store: Postgres) -> None:
        began = now = time.monotonic()
        next_at, said = began, began
        while now < began + self._plan.seconds:
            for replica in self._replicas:
                replica.watch()
            storm.undo(now)
            if now >= next_at:
                kind = storm.strike(now)
                next_at = now + storm.stage.chance.uniform(*BETWEEN)
                if kind is not None and now - said > 10:
                    said = now
                    self._say(f"{now - began:.0f} s, {sum(storm.counts.values())} faults, {self._progress()}")
            time.sleep(0.05)
            now = time.monotonic()
        storm.undo()
        self._say(f"the storm is over: {sum(storm.counts.values())} faults, {self._progress()}")
        broker.start()
        store.start()

    def _progress(self) -> str:
        said = self._ask(f"/api/jobs/{self._job}")
        return "no aggregator answers" if said is None else f"{said['answered']:,} answered, {said['failed']} failed"

    def _ask(self, path: str) -> Any:
        for replica in self._replicas:
            if replica.service == "aggregator":
                try:
                    answer = httpx.get(replica.url + path, timeout=5)
                except httpx.TransportError:
                    continue
                if answer.status_code == 200:
                    return answer.json()
        return None

    # -- after ---------------------------------------------------------------------------------------------------------

    def _finish(self) -> dict[str, Any]:
        """Wait for the end of the job; its account."""
        said = time.monotonic()

        def over() -> dict[str, Any] | None:
            nonlocal said
            for replica in self._replicas:
                replica.watch()
            if time.monotonic() - said > 10:
                said = time.monotonic()
                self._say(f"waiting for the end: {self._progress()}")
            found: dict[str, Any] | None = self._ask(f"/api/jobs/{self._job}")
            return found if found and found["state"] != "open" else None

        patience = PATIENCE + self._plan.seconds
        ended = wait_until(over, patience, "the job to end", every=0.5)
        self._all_ready()
        return ended or {}

    def _line(self, faults: Counter[str], ended: dict[str, Any], took: float, broker: RabbitMQ) -> dict[str, Any]:
        account = self._command("audit", self._job)
        aggregator = self._env["MANYHANDS_AGGREGATOR_URL"]
        with httpx.stream("GET", f"{aggregator}/api/jobs/{self._job}/answers.csv", timeout=120) as answers:
            found = reckon(answers.iter_lines(), self._work)
        killers = set(self._work.killers)
        extra = max(0, ended["judgments"] - TIMES * self._work.tasks)
        dead, codes = self._dead()
        return {
            "seed": self._plan.seed, "broker": broker.version, "tasks": self._work.tasks, "answered": found.answered,
            "failed": len(found.failed), "killers": len(killers), "exactly_the_killers": found.failed == killers,
            "dead_letters": len(dead), "dead_codes": codes, "dead_are_the_killers": dead == killers,
            "wrong": found.wrong,
            "lost": found.missing + len(found.failed - killers), "counted_twice": found.counted_twice + extra,
            "faults": sum(faults.values()), "by_kind": dict(sorted(faults.items())),
            "died": {r.name: r.died for r in self._replicas if r.died},
            "late": {r.name: r.late for r in self._replicas if r.late},
            "seconds": round(took, 1), "state": ended["state"], "digest": found.digest[:16],
            "conserved": bool(account["conserved"]), "earned": account["rewards"]["earned"],
            "owed": account["rewards"]["owed"], "paid_for": found.judgments,
        }  # fmt: skip

    def _dead(self) -> tuple[set[int], dict[str, int]]:
        """The positions of all dead letters, and how many letters there are of each code."""
        letters = self._ask("/api/dead?limit=10000")["letters"]
        found: set[int] = set()
        for letter in letters:
            found.update(self._ask(f"/api/dead/{letter['id']}")["message"].get("positions", [-1]))
        return found, dict(sorted(Counter(letter["code"] for letter in letters).items()))

    def _end(self) -> None:
        for replica in self._replicas:
            replica.end()


def good(line: dict[str, Any]) -> bool:
    """Whether a drill went as it must."""
    return bool(
        line["lost"] == line["counted_twice"] == line["wrong"] == 0
        and line["exactly_the_killers"] and line["dead_are_the_killers"] and line["conserved"]
        and line["owed"] == 0 and line["earned"] == EARNED * line["paid_for"]
    )  # fmt: skip


def run(plan: Plan, say: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Run a drill in a folder of its own, which is kept when something is not as it must be."""
    folder = Path(tempfile.mkdtemp(prefix="manyhands-chaos-"))
    try:
        line = Drill(plan, folder, say).run()
    except BaseException:
        sys.stderr.write(f"the logs are in {folder}\n")
        raise
    if good(line):
        shutil.rmtree(folder, ignore_errors=True)
    else:
        line["logs"] = str(folder)
    return line
