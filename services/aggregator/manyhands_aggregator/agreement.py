"""How far a job's judges agree, streamed over the store in bounded memory.

A judge's repeated slots are one voter, the first that spoke of a task, since a program that is asked twice agrees with
itself; each person is a voter. Tasks that only one voter judged say nothing of agreement and do not count. In a
cascade the later judges see only what the earlier ones were not sure of: agreement is then that on the harder tasks.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import sqlalchemy as sa

from manyhands.errors import UnknownJob
from manyhands.messages import Judgments
from manyhands.spec import JobSpec, received
from manyhands_aggregator import judging, tables
from manyhands_aggregator.measures import PEOPLE, Measure, Said, measure_of
from manyhands_service.store import Store

_suites = tables.suites

#: Suites looked at in one go.
PAGE = 100


def of_job(store: Store, job: str) -> dict[str, Any] | None:
    """The agreement among a job's judges as things stand; None where no task can have had two voters.

    Raises:
        UnknownJob: the aggregator has not heard of it, or not of its plan.
    """
    text = store.read(lambda c: c.scalar(sa.select(tables.jobs.c.spec).where(tables.jobs.c.job == job)))
    if text is None:
        raise UnknownJob(f"{job!r}; `manyhands status` lists the jobs")
    spec = received(text)
    judges = voters(spec)
    if len(judges) < 2 and PEOPLE not in judges:
        return None
    measure, numbers, last, more = measure_of(spec, judges), dict.fromkeys(judges), -1, True
    named = {name: number for number, name in enumerate(numbers)}
    while more:
        last, more = store.read(lambda c, after=last: _page(c, job, after, measure, named))  # type: ignore[misc]  # no lambda defaults in mypy
    return measure.report()


def voters(spec: JobSpec) -> list[str]:
    """The judges of every stage of the plan, each once."""
    return list(dict.fromkeys(judge.judge for stage in spec.stages for judge in stage.judges))


def _page(connection: sa.Connection, job: str, after: int, measure: Measure, named: dict[str, int]) -> tuple[int, bool]:
    rows = connection.execute(
        sa.select(_suites.c.suite, _suites.c.first, _suites.c.count)
        .where(_suites.c.job == job, _suites.c.suite > after)
        .order_by(_suites.c.suite)
        .limit(PAGE)
    ).all()
    starts = itertools.accumulate((row.count for row in rows), initial=0)
    places = {row.suite: start - row.first for row, start in zip(rows, starts, strict=False)}
    positions = [p for row in rows for p in range(row.first, row.first + row.count)]
    measure.add(gather(judging.said_of(connection, job, list(places)), places, positions, named))
    return (rows[-1].suite if rows else after), len(rows) == PAGE


def gather(
    messages: Iterable[Judgments], places: dict[int, int], positions: Sequence[int], named: dict[str, int]
) -> Said:
    """Messages as rows; ``places`` has what is added to a suite's positions, ``named`` the voters' numbers, and grows.

    Of a voter's judgments of a task the first counts. People beyond the judges of the plan are named by their worker.
    """
    task: list[int] = []
    voter: list[int] = []
    values: list[Any] = []
    for message in messages:
        name = f"{PEOPLE}/{message.worker}" if message.judge == PEOPLE else message.judge
        number, place = named.setdefault(name, len(named)), places[message.suite]
        for position, value in zip(message.positions, message.values, strict=True):
            if position not in message.errors:
                task.append(position + place)
                voter.append(number)
                values.append(value)
    tasks, who = np.array(task, dtype=np.int64), np.array(voter, dtype=np.int64)
    _, first = np.unique(tasks * len(named) + who, return_index=True)
    return Said(tasks[first], who[first], [values[i] for i in first], positions)
