"""The two sums that every model of confusions is made of, over judgments sorted by task and workers' choices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from manyhands_aggregator.truth.ballots import Ballots, Floats, Indices, Ints, in_order

#: Numbers in all confusion matrices together, from which on they are not written out: 128 MiB.
LARGE = 1 << 24
#: Judgments of a task that are summed rank by rank; a task seldom has more.
RANKS = 64


@dataclass(frozen=True, slots=True)
class Choices:
    """Judgments as pairs of a task and a **choice**: a worker and a label that it has used, P of them.

    Tables have a row for each class, so that each sum runs over memory in order and needs n numbers of space, never
    n x K.

    Attributes:
        task, choice: (n,), in the order of tasks.
        worker, label: (P,), whose choice it is, and which label; in the order of workers.
        made: (n,), the tasks in the order of the choices made there, and ``begins`` (P,) where each choice's begin.
        ranks: the choices of the first judgment of every task, of the second and so on; tasks are as in ``places``,
            those with most judgments first.
        further: rows of the judgments beyond the last rank.
    """

    task: Indices
    choice: Indices
    worker: Indices
    label: Indices
    tasks: int
    workers: int
    classes: int
    made: Indices
    begins: Indices
    ranks: tuple[Indices, ...]
    places: Indices
    further: Indices

    @classmethod
    def of(cls, ballots: Ballots) -> Choices:
        """The choices of all workers."""
        cells = ballots.worker.astype(np.intp) * ballots.classes + ballots.label
        uses = np.bincount(cells, minlength=ballots.workers * ballots.classes)
        chosen = np.flatnonzero(uses)
        order, ends = ballots.by_task()
        task, choice = ballots.task[order].astype(np.intp), (np.cumsum(uses > 0) - 1)[cells[order]]
        votes = np.diff(ends)
        places = in_order(votes.max(initial=0) - votes)
        ranks = []
        for rank in range(min(RANKS, int(votes.max(initial=0)))):
            ranks.append(choice[ends[places[: np.count_nonzero(votes > rank)]] + rank])
        return cls(
            task, choice, chosen // ballots.classes, chosen % ballots.classes,
            ballots.tasks, ballots.workers, ballots.classes,
            made=task[in_order(choice)],
            begins=np.concatenate(([0], np.cumsum(uses[chosen])[:-1])).astype(np.intp)[: len(chosen)],
            ranks=tuple(ranks),
            places=places,
            further=np.flatnonzero(np.arange(len(task)) - ends[task] >= RANKS),
        )  # fmt: skip

    def over_tasks(self, table: Floats) -> Floats:
        """For each task the sum of the columns of its choices: (R, P) to (R, T)."""
        found = np.zeros((len(table), self.tasks))
        line, more = np.empty((2, self.tasks))
        for row, sums in zip(table, found, strict=True):
            line[:] = 0.0
            for rank in self.ranks:
                end = len(rank)
                np.add(line[:end], row.take(rank, out=more[:end], mode="clip"), out=line[:end])
            sums[self.places] = line
            if len(self.further):
                sums += tally(self.task[self.further], row.take(self.choice[self.further]), self.tasks)
        return found

    def over_choices(self, table: Floats) -> Floats:
        """For each choice the sum of the columns of the tasks where it was made: (R, T) to (R, P)."""
        found = np.zeros((len(table), len(self.worker)))
        if len(self.made):
            at = np.empty(len(self.made))
            for row, sums in zip(table, found, strict=True):
                np.add.reduceat(row.take(self.made, out=at, mode="clip"), self.begins, out=sums)
        return found

    def over_workers(self, table: Floats) -> Floats:
        """For each worker the sum of the columns of its choices: (R, P) to (R, W)."""
        return np.stack([tally(self.worker, row, self.workers) for row in table])

    def matrices(self, table: Floats, unused: Callable[[], Floats]) -> Floats | None:
        """Weights (K, P) of what was chosen as confusion matrices (W, K, K); ``unused`` makes those of other labels.

        None if they would be larger than ``LARGE``.
        """
        if max(1, self.workers) * self.classes**2 > LARGE:
            return None
        found = np.broadcast_to(unused(), (self.workers, self.classes, self.classes)).copy()
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
