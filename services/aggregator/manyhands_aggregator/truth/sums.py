"""The two sums that every model of confusions is made of, over judgments sorted by task and workers' choices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from manyhands_aggregator.truth.ballots import Ballots, Floats, Indices, Ints

#: Numbers in all confusion matrices together, from which on they are not written out: 128 MiB.
LARGE = 1 << 24


@dataclass(frozen=True, slots=True)
class Choices:
    """Judgments as pairs of a task and a **choice**: a worker and a label that it has used, P of them.

    Tables have a row for each class, so that each sum runs over memory in order and needs n numbers of space, never
    n x K.

    Attributes:
        task, choice: (n,), in the order of tasks.
        worker, label: (P,), whose choice it is, and which label.
    """

    task: Indices
    choice: Indices
    worker: Indices
    label: Indices
    tasks: int
    workers: int
    classes: int

    @classmethod
    def of(cls, ballots: Ballots) -> Choices:
        """The choices of all workers."""
        cells = ballots.worker.astype(np.intp) * ballots.classes + ballots.label
        used = np.bincount(cells, minlength=ballots.workers * ballots.classes) > 0
        order, _ = ballots.by_task()
        rank = np.cumsum(used) - 1
        chosen = np.flatnonzero(used)
        return cls(
            ballots.task[order].astype(np.intp), rank[cells[order]],
            chosen // ballots.classes, chosen % ballots.classes,
            ballots.tasks, ballots.workers, ballots.classes,
        )  # fmt: skip

    def over_tasks(self, table: Floats) -> Floats:
        """For each task the sum of the columns of its choices: (R, P) to (R, T)."""
        return np.stack([tally(self.task, row.take(self.choice), self.tasks) for row in table])

    def over_choices(self, table: Floats) -> Floats:
        """For each choice the sum of the columns of the tasks where it was made: (R, T) to (R, P)."""
        return np.stack([tally(self.choice, row.take(self.task), len(self.worker)) for row in table])

    def over_workers(self, table: Floats) -> Floats:
        """For each worker the sum of the columns of its choices: (R, P) to (R, W)."""
        return np.stack([tally(self.worker, row, self.workers) for row in table])

    def matrices(self, table: Floats, unused: Floats) -> Floats | None:
        """Weights (K, P) of what was chosen as confusion matrices (W, K, K); ``unused`` has those of other labels.

        None if they would be larger than ``LARGE``.
        """
        if self.workers * self.classes**2 > LARGE:
            return None
        found = np.broadcast_to(unused, (self.workers, self.classes, self.classes)).copy()
        found[self.worker, :, self.label] = table.T
        found /= found.sum(axis=2, keepdims=True)
        return found


def tally(groups: Indices | Ints, weights: Floats, count: int) -> Floats:
    """The sum of the weights in each of ``count`` groups, shape (count,)."""
    return np.asarray(np.bincount(groups, weights, count), dtype=np.float64)


def softmax(logits: Floats) -> Floats:
    """Columns (K, T) of logarithms as probabilities that sum to 1. In place."""
    logits -= logits.max(axis=0)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=0)
    return logits
