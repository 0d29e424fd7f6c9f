"""Judgments as arrays of integers: what every method of inference takes."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Ints: TypeAlias = NDArray[np.int32]
Floats: TypeAlias = NDArray[np.float64]
#: numpy's own index type: what ``take`` and ``bincount`` need no copy of.
Indices: TypeAlias = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Ballots:
    """n judgments of T tasks by W workers over K classes, one row each; a worker judges a task at most once.

    ``task``, ``worker`` and ``label`` have shape (n,) and count from 0; ``tasks``, ``workers`` and ``classes`` are
    T, W and K, which may be more than occur. The order of the rows means nothing.

    Raises:
        ValueError: the columns differ in length, or a number is out of its range.
    """

    task: Ints
    worker: Ints
    label: Ints
    tasks: int
    workers: int
    classes: int

    def __post_init__(self) -> None:
        if self.classes < 1:
            raise ValueError("there must be at least one class")
        for name, column, end in (
            ("task", self.task, self.tasks),
            ("worker", self.worker, self.workers),
            ("label", self.label, self.classes),
        ):
            if column.shape != self.task.shape or column.ndim != 1:
                raise ValueError("task, worker and label must be columns of one length")
            if len(column) and not 0 <= column.min() <= column.max() < end:
                raise ValueError(f"every {name} must be between 0 and {end - 1}")

    def __len__(self) -> int:
        return len(self.task)

    @classmethod
    def of(
        cls,
        task: ArrayLike,
        worker: ArrayLike,
        label: ArrayLike,
        *,
        tasks: int | None = None,
        workers: int | None = None,
        classes: int | None = None,
    ) -> Ballots:
        """Ballots of three columns of whole numbers; the sizes not given are the least that hold them."""
        columns = [np.asarray(column, dtype=np.int32).reshape(-1) for column in (task, worker, label)]
        least = [int(column.max()) + 1 if len(column) else 0 for column in columns]
        sizes = [
            found if given is None else given for given, found in zip((tasks, workers, classes), least, strict=True)
        ]
        return cls(columns[0], columns[1], columns[2], sizes[0], sizes[1], max(1, sizes[2]))

    def votes(self) -> NDArray[np.int64]:
        """How often each class was chosen for each task, shape (T, K)."""
        cells = self.task.astype(np.intp) * self.classes + self.label
        return np.bincount(cells, minlength=self.tasks * self.classes).reshape(self.tasks, self.classes)

    def by_task(self) -> tuple[Indices, Indices]:
        """The rows in the order of their tasks, shape (n,), and where each task's begin, shape (T + 1,)."""
        return _grouped(self.task, self.tasks)

    def by_worker(self) -> tuple[Indices, Indices]:
        """The rows in the order of their workers, shape (n,), and where each worker's begin, shape (W + 1,)."""
        return _grouped(self.worker, self.workers)

    def among(self, rows: NDArray[np.bool_] | Indices) -> Ballots:
        """Some of the judgments, of as many tasks, workers and classes as before."""
        return Ballots(self.task[rows], self.worker[rows], self.label[rows], self.tasks, self.workers, self.classes)


def number(values: Sequence[Hashable]) -> tuple[Ints, list[Hashable]]:
    """Numbers in the place of names, shape (n,), in the order of their first appearance; and the names."""
    known: dict[Hashable, int] = {}
    numbers = np.fromiter((known.setdefault(value, len(known)) for value in values), dtype=np.int32, count=len(values))
    return numbers, list(known)


def _grouped(keys: Ints, groups: int) -> tuple[Indices, Indices]:
    ends = np.concatenate(([0], np.cumsum(np.bincount(keys, minlength=groups))))
    return in_order(keys), ends.astype(np.intp)


def in_order(keys: Ints | Indices) -> Indices:
    """The places of keys, 0..2^32 - 1, in their order, equal ones as they stand.

    numpy sorts numbers of 16 bits by radix, several times as fast as longer ones.
    """
    order = np.argsort((keys & 0xFFFF).astype(np.uint16), kind="stable")
    if len(keys) and keys.max() > 0xFFFF:
        order = order[np.argsort((keys[order] >> 16).astype(np.uint16), kind="stable")]
    return order
