"""Tasks that are pushed: checked, cut and spooled in one commit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from manyhands.messages import GOLD_ID
from manyhands_producer.cutter import Limits, cut
from manyhands_producer.errors import JobRefused
from manyhands_producer.sources.base import Rows, id_of
from manyhands_producer.spool import Cut

#: What a pushed task may have.
KEYS = {"id", "payload", "truth", "gold"}


def rows_of(tasks: Sequence[Mapping[str, Any]], first: int) -> Rows:
    """Tasks as rows; one without an id has its position as id, and gold that of all gold that is no answer.

    Raises:
        JobRefused: a task is not one; none of them is taken.
    """
    payloads, ids, truths = [], [], []
    for position, task in enumerate(tasks, first):
        where = f"task {position}"
        if not isinstance(task, Mapping) or "payload" not in task:
            raise JobRefused(f'{where} is not of the form {{"payload": …, "id": …, "truth": …}}')
        if not task.keys() <= KEYS:
            raise JobRefused(
                f"{where} has the unknown key {min(task.keys() - KEYS)!r}; known are id, payload, truth and gold"
            )
        payloads.append(task["payload"])
        truths.append(task.get("truth"))
        own, gold = task.get("id"), task.get("gold", False)
        if gold and (own is not None or task.get("truth") is None or gold is not True):
            raise JobRefused(f"{where}: gold is true, of a task with a truth and no id")
        try:
            ids.append(GOLD_ID if gold else None if own is None else id_of(own))
        except ValueError as error:
            raise JobRefused(f"{where}: {error}") from error
    named = any(own is not None for own in ids)
    return Rows(
        payloads=payloads,
        ids=[own if own is not None else str(first + i) for i, own in enumerate(ids)] if named else None,
        truths=truths if any(truth is not None for truth in truths) else None,
        where=lambda index: f"task {first + index}",
    )


def cut_tasks(
    tasks: Sequence[Mapping[str, Any]],
    *,
    suite: int,
    first: int,
    size: int,
    limits: Limits,
    affordable: int | None = None,
    sent: int = 0,
) -> tuple[list[Cut], list[str], Rows]:
    """Suites of pushed tasks, the ids that must be new to the job, and the rows they came from.

    So many tasks are ``affordable`` in all, and so many were ``sent`` before; those beyond are refused.

    Raises:
        JobRefused: a task is not one.
    """
    rows = rows_of(tasks, first)
    rows.pay(affordable, sent)
    cuts = cut(rows, suite=suite, first=first, tasks=size, limits=limits)
    given = zip(rows.ids, tasks, strict=True) if rows.ids is not None else ()
    return cuts, [own for own, task in given if own is not None and task.get("id") is not None], rows
