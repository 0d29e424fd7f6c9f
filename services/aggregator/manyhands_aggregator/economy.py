"""What a plan of several stages has asked of each, and what it saved against asking every judge of every task."""

from __future__ import annotations

from collections import Counter
from typing import Any

import sqlalchemy as sa

from manyhands.errors import UnknownJob
from manyhands.spec import received
from manyhands_aggregator import tables
from manyhands_aggregator.suite import unpack_answers
from manyhands_service.store import Store

_jobs, _suites, _judgments = tables.jobs, tables.suites, tables.judgments

#: Suites looked at in one go.
PAGE = 500


def economy(store: Store, job: str) -> dict[str, Any] | None:
    """Judgments and answers of each stage; ``asked`` judgments where all judges of all tasks would be ``of`` so many.

    ``saved`` is the share 0..1 of those; None as a whole for a job whose plan never asks more than its first stage.

    Raises:
        UnknownJob: the aggregator has not heard of it.
    """
    row = store.read(lambda c: c.execute(sa.select(_jobs.c.spec, _jobs.c.sent).where(_jobs.c.job == job))).one_or_none()
    if row is None:
        raise UnknownJob(f"{job!r}; `manyhands status` lists the jobs")
    spec = None if row.spec is None else received(row.spec)
    if spec is None or not spec.cascades:
        return None
    by_stage = sa.select(_judgments.c.stage, sa.func.sum(_judgments.c.count)).group_by(_judgments.c.stage)
    judged = dict(store.read(lambda c: c.execute(by_stage.where(_judgments.c.job == job)).all()))
    answered = _answered(store, job)
    asked = sum(map(int, judged.values()))
    whole = row.sent * sum(stage.judgments for stage in spec.stages)
    return {
        "stages": [
            {
                "stage": number, "judges": ", ".join(judge.judge for judge in stage.judges),
                "judgments": int(judged.get(number, 0)), "answers": answered[number],
            }
            for number, stage in enumerate(spec.stages)
        ],
        "asked": asked, "of": whole, "saved": round(1 - asked / whole, 6) if whole else None,
    }  # fmt: skip


def _answered(store: Store, job: str) -> Counter[int]:
    """Answers by the stage that gave them."""
    found: Counter[int] = Counter()
    last = -1
    while True:
        query = sa.select(_suites.c.suite, _suites.c.answers).where(_suites.c.job == job, _suites.c.suite > last)
        query = query.where(_suites.c.answers.is_not(None)).order_by(_suites.c.suite).limit(PAGE)
        page = store.read(lambda c, q=query: c.execute(q).all())  # type: ignore[misc]  # mypy infers no lambda defaults
        for suite, answers in page:
            last = suite
            decision = unpack_answers(answers)
            stages = decision.stages or [0] * len(decision.values)
            found.update(stage for i, stage in enumerate(stages) if stage is not None and i not in decision.errors)
        if len(page) < PAGE:
            return found
