"""Who judged a job, and how well: every judge of the plan and every person, measured over the store."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import msgpack
import numpy as np
import sqlalchemy as sa

from manyhands.errors import UnknownJob
from manyhands.spec import PEOPLE, Quality, received
from manyhands_aggregator import judging, ratings, reputations, tables
from manyhands_aggregator.plan import Plan
from manyhands_aggregator.said import Columns
from manyhands_aggregator.truth import likeness
from manyhands_aggregator.truth.ballots import Ballots
from manyhands_aggregator.truth.nearness import reach
from manyhands_aggregator.truth.quality import Assessment, assess, compare
from manyhands_aggregator.truth.reputation import bounds, confusions, expected
from manyhands_aggregator.truth.verdict import verdict
from manyhands_service.store import Store

_suites, _judgments = tables.suites, tables.judgments

#: Suites looked at in one go.
PAGE = 100
#: Rows that are looked at, at most, of about 40 bytes each. Of a larger job it is whole suites, spread evenly.
LIMIT = 2_000_000
#: Options for which a confusion matrix is shown, at most.
OPTIONS = 50
#: Workers that are named to whoever asks for one that is not there.
SOME = 3


@dataclass(frozen=True, slots=True)
class Measured:
    """A job's workers, by number, and what was measured of them; ``share`` of its suites were looked at.

    ``earlier`` is what counts, by name, of what they have shown before this job, where its rules ask for that.
    """

    plan: Plan
    names: list[str]
    ballots: Ballots
    assessment: Assessment
    share: float
    earlier: reputations.Earlier = field(default_factory=dict)

    def ratings(self) -> list[dict[str, Any]]:
        """A row a worker, in the order of the plan and then of their names; for JSON."""
        rules = self.plan.spec.quality or Quality()
        order = {name: place for place, name in enumerate(self.plan.spec.judge_names)}
        numbers = sorted(range(len(self.names)), key=lambda n: (order.get(self.names[n], len(order)), self.names[n]))
        return [self._rating(number, rules) for number in numbers]

    def shown(self) -> list[dict[str, Any]]:
        """What each worker has shown: how many judgments were looked at, compared and right; a row a worker."""
        found = ((name, self.assessment.of(number)) for number, name in enumerate(self.names))
        return [
            {"worker": name, "judgments": of.judgments, "right": of.right, "compared": of.compared}
            for name, of in found
        ]

    def _rating(self, number: int, rules: Quality) -> dict[str, Any]:
        evidence = replace(self.assessment.of(number), earlier=self.earlier.get(self.names[number], (0.0, 0.0)))
        found, (low, high) = verdict(rules, evidence), bounds(evidence.right, evidence.compared)
        return {
            "worker": self.names[number],
            "kind": kind(self.names[number]),
            "judgments": evidence.judgments,
            "compared": round(evidence.compared),
            "accuracy": _share(expected(evidence.right, evidence.compared)) if evidence.compared else None,
            "accuracy_low": _share(low),
            "accuracy_high": _share(high),
            "spam": _share(evidence.spam),
            "pace": _share(evidence.pace),
            "change": _share(evidence.change) if math.isfinite(evidence.deviation) else None,
            "repeats": _share(evidence.repeats),
            "repeats_expected": _share(evidence.repeats_expected),
            "copies": self._name(evidence.copies),
            "twin": self._name(evidence.twin),
            "action": found.action,
            "reasons": list(found.reasons),
        }

    def _name(self, number: int | None) -> str | None:
        return None if number is None else self.names[number]

    def rating(self, name: str) -> dict[str, Any]:
        """The row of one worker, with ``confusion``: how probable it is that it says what of which truth.

        The truths are options, or for several labels whether one is there. None for other answers, and for very many
        options.

        Of a person the id is enough.

        Raises:
            UnknownJob: nobody of this name has judged anything.
        """
        if name not in self.names and f"{PEOPLE}/{name}" in self.names:
            name = f"{PEOPLE}/{name}"
        if name not in self.names:
            some = ", ".join(sorted(self.names)[:SOME])
            like = f", such as {some}" if some else ""
            raise UnknownJob(f"no worker {name!r} has judged it; `manyhands workers` lists those that have{like}")
        number, answer = self.names.index(name), self.plan.spec.answer
        options = {"choice": answer.options or [], "choices": ["without", "with"]}.get(answer.type, [])
        confusion = None
        if 0 < len(options) <= OPTIONS:
            matrix = confusions(self.ballots, self.assessment.peers)[number].tolist()
            confusion = {
                truth: {said: round(p, 4) for said, p in zip(options, row, strict=True)}
                for truth, row in zip(options, matrix, strict=True)
            }
        return {**self._rating(number, self.plan.spec.quality or Quality()), "confusion": confusion}


def kind(worker: str) -> str:
    """Whether somebody of this name is a person or a machine."""
    return "person" if worker.startswith(f"{PEOPLE}/") else "machine"


def _share(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None


def rated(store: Store, job: str) -> list[dict[str, Any]]:
    """A row a worker, with how the job's rules ``acted`` on it last.

    Raises:
        UnknownJob: the aggregator has not heard of it, or not of its plan.
    """
    known = store.read(lambda c: ratings.known(c, job))
    rows = of_job(store, job).ratings()
    return [{**row, "acted": known[row["worker"]].action if row["worker"] in known else None} for row in rows]


def of_job(store: Store, job: str, *, most: int | None = None) -> Measured:
    """Measure those who judged a job, as things stand: open tasks count, too. Looks at ``LIMIT`` rows or ``most``.

    Raises:
        UnknownJob: the aggregator has not heard of it, or not of its plan.
    """
    text = store.read(lambda c: c.scalar(sa.select(tables.jobs.c.spec).where(tables.jobs.c.job == job)))
    if text is None:
        raise UnknownJob(f"{job!r}; `manyhands status` lists the jobs")
    plan = Plan.of(received(text))
    columns = Columns(plan)
    rows = (
        store.read(lambda c: c.scalar(sa.select(sa.func.sum(_judgments.c.count)).where(_judgments.c.job == job))) or 0
    )
    step = max(1, math.ceil(rows * columns.width / (most or LIMIT)))
    last, more = -1, True
    while more:
        last, more = store.read(lambda c, after=last: _page(c, job, after, step, columns))  # type: ignore[misc]  # no lambda defaults in mypy
    found = measure(columns, 1 / step)
    return replace(found, earlier=store.read(lambda c: reputations.earlier(c, job, found.names)))


def measure(columns: Columns, share: float = 1.0) -> Measured:
    """Measure the workers of a job from these judgments; they are a ``share`` of all."""
    ballots, value, seconds, truth = columns.ballots()
    known, machines = ~np.isnan(truth), columns.machines
    labels = np.where(known, truth, -1).astype(np.int32)
    match columns.plan.spec.answer.type:
        case "choice" | "choices":
            found = assess(ballots, seconds, gold=labels, machines=machines, rows=columns.width)
        case "number":
            answer = columns.plan.spec.answer
            within = reach(truth, answer.min, answer.max)
            found = compare(ballots, likeness.near(ballots, value, truth, within), seconds, machines=machines)
        case _:
            found = compare(ballots, likeness.same(ballots, labels), seconds, machines=machines)
    return Measured(columns.plan, list(columns.names), ballots, found, share)


def _page(connection: sa.Connection, job: str, after: int, step: int, columns: Columns) -> tuple[int, bool]:
    query = sa.select(_suites.c.suite, _suites.c.first, _suites.c.count.label("tasks"), _suites.c.truths)
    query = query.where(_suites.c.job == job, _suites.c.suite > after, _suites.c.suite % step == 0)
    rows = connection.execute(query.order_by(_suites.c.suite).limit(PAGE)).all()
    said: dict[int, list[Any]] = {}
    for message in judging.said_of(connection, job, [row.suite for row in rows]):
        said.setdefault(message.suite, []).append(message)
    for row in rows:
        if row.suite in said:
            truths = row.truths and msgpack.unpackb(row.truths, strict_map_key=False)
            columns.add(said[row.suite], row.first, row.tasks, truths)
    return (rows[-1].suite if rows else after), len(rows) == PAGE
