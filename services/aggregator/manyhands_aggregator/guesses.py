"""Truths of tasks on record where they are not known, drawn from what is said of them; pure."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from manyhands.spec import PEOPLE

if TYPE_CHECKING:
    from manyhands_aggregator.sample import Specimen

#: The default method leaves room for mistakes that everybody makes, about 4 %. A truth drawn by it is now and then one
#: that no judge has named, and would make the best of them look unsure. Measured on the digits and on crowds: by this
#: one judges come out as good as they are, by 1.6 points more where tasks are hard, by 4 where there are decoys.
METHOD = "one-coin"


def truths(tasks: Sequence[Specimen], options: Sequence[str], rng: random.Random) -> list[Any]:
    """The truth of each task; where it is not known one of the ``options``, as likely as all its judges make it.

    Of a task that one voter alone has judged the others tell nothing: there it counts how often the voter was right
    when it was as sure, on tasks of known truth and on answers that others bore out. Without options a truth is any
    value that was said; None where nothing was.
    """
    known = [task.truth for task in tasks]
    if all(truth is not None for truth in known):
        return known
    drawn = _chosen(tasks, options, rng) if options else [_any(task, rng) for task in tasks]
    return [one if truth is None else truth for truth, one in zip(known, drawn, strict=True)]


def _chosen(tasks: Sequence[Specimen], options: Sequence[str], rng: random.Random) -> list[str | None]:
    import numpy as np  # it takes its time to import

    from manyhands_aggregator.opinions import LEARN_FROM, Lesson
    from manyhands_aggregator.truth.ballots import Ballots, number
    from manyhands_aggregator.truth.belief import Beliefs, Vote
    from manyhands_aggregator.truth.methods import infer

    labels = {option: label for label, option in enumerate(options)}
    votes = [[Vote(*vote) for vote in _votes(task, labels)] for task in tasks]
    cast = [(place, vote) for place, some in enumerate(votes) for vote in some]
    if not cast:
        return [None] * len(tasks)
    gold = np.array([labels.get(str(task.truth), -1) if task.truth is not None else -1 for task in tasks], np.int32)
    ballots = Ballots.of(
        [place for place, _ in cast], number([vote.worker for _, vote in cast])[0], [vote.label for _, vote in cast],
        tasks=len(tasks), classes=len(labels),
    )  # fmt: skip
    shares = infer(ballots, METHOD, gold=gold if (gold >= 0).any() else None).posterior
    beliefs = Beliefs(len(labels))
    for place, some in enumerate(votes):
        truth, answer = int(gold[place]), int(shares[place].argmax())
        sure = len(some) > 1 and shares[place, answer] >= LEARN_FROM
        if some:
            Lesson(place, some, truth if truth >= 0 else None, answer if sure else None).teach(beliefs)
    for place, some in enumerate(votes):
        if len(some) == 1:
            shares[place] = beliefs.posterior(some)
    return [rng.choices(options, shares[place].tolist())[0] if some else None for place, some in enumerate(votes)]


def _votes(task: Specimen, labels: dict[str, int]) -> list[tuple[str, int, float | None]]:
    """The first vote of each voter: a machine, or a person."""
    found: dict[str, tuple[str, int, float | None]] = {}
    for judge, some in task.said.items():
        for said in some:
            if said.failure is None and said.value in labels:
                voter = f"{PEOPLE}/{said.worker}" if judge == PEOPLE else judge
                found.setdefault(voter, (voter, labels[said.value], said.confidence))
    return [found[voter] for voter in sorted(found)]


def _any(task: Specimen, rng: random.Random) -> Any:
    there = [said.value for some in task.said.values() for said in some if said.failure is None]
    return rng.choice(there) if there else None
