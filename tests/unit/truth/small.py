"""Small crowds by lot, for tests of the methods."""

from __future__ import annotations

import numpy as np

from manyhands.testing.crowd import Simulated
from manyhands_aggregator.truth.ballots import Ballots, Ints


def crowd(
    seed: int, tasks: int = 40, workers: int = 9, classes: int = 3, redundancy: int = 5, good: float = 8.0
) -> tuple[Ballots, Ints]:
    """Judgments of workers whose skills are drawn from Beta(``good``, 2), and the truths (T,)."""
    lot = np.random.default_rng(seed)
    truth = lot.integers(0, classes, tasks).astype(np.int32)
    skill = lot.beta(good, 2.0, workers)
    worker = np.concatenate([lot.permutation(workers)[:redundancy] for _ in range(tasks)])
    task = np.repeat(np.arange(tasks), redundancy)
    wrong = (truth[task] + lot.integers(1, max(2, classes), len(task))) % classes
    label = np.where(lot.random(len(task)) < skill[worker], truth[task], wrong)
    return Ballots.of(task, worker, label, tasks=tasks, workers=workers, classes=classes), truth


def ballots_of(said: Simulated) -> Ballots:
    """A simulated crowd's judgments, in their order."""
    return Ballots.of(said.task, said.worker, said.label, tasks=said.tasks, workers=said.workers, classes=said.classes)


def renamed(ballots: Ballots, workers: Ints, labels: Ints) -> Ballots:
    """The same judgments in the same order, of workers and labels that have other numbers: ``workers[old]`` is new."""
    return Ballots.of(
        ballots.task, workers[ballots.worker], labels[ballots.label],
        tasks=ballots.tasks, workers=ballots.workers, classes=ballots.classes,
    )  # fmt: skip


def names(seed: int, ballots: Ballots) -> tuple[Ints, Ints]:
    """Other numbers for all workers and labels of some ballots."""
    lot = np.random.default_rng(seed)
    return lot.permutation(ballots.workers).astype(np.int32), lot.permutation(ballots.classes).astype(np.int32)


def shuffled(seed: int, ballots: Ballots) -> Ballots:
    """The same judgments in another order."""
    return ballots.among(np.random.default_rng(seed).permutation(len(ballots)))
