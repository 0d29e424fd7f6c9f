"""Sets of labels (answers of type ``choices``): each label is a question of its own, one against the rest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from manyhands_aggregator.truth.ballots import Ballots, Floats, Ints
from manyhands_aggregator.truth.inferred import LEVEL
from manyhands_aggregator.truth.methods import infer


@dataclass(frozen=True, slots=True)
class Labelled:
    """What is believed of every task, and of every worker if the method says anything of workers.

    Attributes:
        posterior: (T, L), the probability that a label belongs to a task.
        skill: (W, L), the probability that a worker is right about a label, 0..1.
    """

    posterior: Floats
    skill: Floats | None

    @property
    def chosen(self) -> NDArray[np.bool_]:
        """The labels of each task, shape (T, L): those more probable than not. A label that is level is left out."""
        found: NDArray[np.bool_] = self.posterior > 0.5 + LEVEL
        return found

    @property
    def confidence(self) -> Floats:
        """The probability (T,) that the whole set is right, labels being independent of one another; 0..1."""
        return np.asarray(np.maximum(self.posterior, 1.0 - self.posterior).prod(axis=1))


def labels(
    task: Ints,
    worker: Ints,
    chosen: NDArray[np.bool_],
    *,
    tasks: int,
    workers: int,
    method: str,
    gold: Ints | None = None,
) -> Labelled:
    """Infer every label by a method for choices.

    ``task`` and ``worker`` (n,) are the judgments, ``chosen`` (n, L) the labels of each; ``gold`` (T, L) has the truths
    that are known, 1 or 0, and -1 for others. It takes L runs of the method over n judgments of two classes.

    Raises:
        KeyError: there is no such method.
        ValueError: the columns differ in length, or a number is out of its range.
    """
    if chosen.shape[:1] != task.shape:
        raise ValueError("task, worker and chosen must have one length")
    found = [
        infer(
            Ballots(task, worker, has.astype(np.int32), tasks, workers, 2),
            method,
            gold=None if gold is None else np.ascontiguousarray(gold[:, label]),
        )
        for label, has in enumerate(chosen.T)
    ]
    posterior = np.stack([one.posterior[:, 1] for one in found], axis=1) if found else np.empty((tasks, 0))
    skills = [one.skill for one in found if one.skill is not None]
    return Labelled(posterior, np.stack(skills, axis=1) if skills else None)
