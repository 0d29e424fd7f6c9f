"""Simulated crowds: judgments whose truth, workers and faults are known. Needs numpy: ``manyhands[testing]``.

One seed gives the same crowd every time. The honest part has random streams of its own, so a crowd with spammers holds,
judgment for judgment (the seconds apart), the honest crowd of the same seed without them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

#: what a worker is; the code in ``Simulated.kind`` is the place in this list
Kind = Literal["honest", "random", "constant", "copying"]
KINDS: tuple[Kind, ...] = get_args(Kind)
#: rows drawn from confusion matrices at once: bounds the memory to this times the classes
_CHUNK = 1 << 18
#: rows on their way: task, worker, label, and when, within 0..1
_Columns = tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """Who judges what, and how well.

    ``workers`` honest workers give ``redundancy`` judgments a task (with a fraction: some tasks get one more);
    spammers come on top of them, as shares of ``workers``, and add their share of judgments. Everybody judges a task at
    most once.

    Attributes:
        skill: the Beta(a, b) each worker's probability of being right is drawn from; or one confusion matrix for all,
            shape (K, K), or one each, (workers, K, K): ``[w, k, l]`` is P(says l | truth k), rows sum to 1.
        prior: class shares of the truth, K of them; ``None``: all alike.
        difficulty: the hardest task loses this share of the edge over guessing, the others evenly less. 0..1.
        decoy: share of tasks' wrong judgments that fall on one tempting wrong option of the task, the rest evenly:
            errors that agree though nobody copied. Only for skills, not for matrices. 0..1.
        fatigue: share of the edge over guessing that is lost by the end of a session, regained by the next one. 0..1.
        session: judgments of a worker between two breaks.
        drift: what is added to a drifting worker's probability of being right from the first judgment to the last
            (negative: gets worse); for matrices, to the edge over guessing.
        drifting: share of honest workers who drift.
        random, constant, copying: spammers as shares of ``workers``: those who pick any option, those who always pick
            the same, and those who repeat, later, what one honest worker said.
        slip: share of a copier's judgments that are picked at random instead. 0..1.
        tail: how uneven participation is: the i-th busiest worker gets a share ∝ i^-tail. 0: all alike.
        seconds: what a judgment takes an honest worker in the median; workers and single judgments vary log-normally.
        haste: spammers' median as a share of ``seconds``.
    """

    tasks: int = 1000
    classes: int = 2
    workers: int = 50
    redundancy: float = 5.0
    seed: int = 0
    skill: tuple[float, float] | NDArray[np.float64] = (8.0, 2.0)
    prior: Sequence[float] | None = None
    difficulty: float = 0.0
    decoy: float = 0.0
    fatigue: float = 0.0
    session: int = 50
    drift: float = 0.0
    drifting: float = 1.0
    random: float = 0.0
    constant: float = 0.0
    copying: float = 0.0
    slip: float = 0.05
    tail: float = 0.5
    seconds: float = 8.0
    haste: float = 0.15

    def __post_init__(self) -> None:
        """Refuse what cannot be simulated.

        Raises:
            ValueError: it says which value, and why.
        """
        if min(self.tasks, self.workers, self.session) < 1 or self.classes < 2:
            raise ValueError("a crowd needs a task, a worker, a session of a judgment, and two classes")
        if not 0 < self.redundancy <= self.workers:
            raise ValueError(f"redundancy is {self.redundancy}, which is not within 0..{self.workers} workers")
        for name in ("difficulty", "decoy", "fatigue", "drifting", "slip"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}, which is not within 0..1")
        if min(self.random, self.constant, self.copying, self.tail) < 0 or min(self.seconds, self.haste) <= 0:
            raise ValueError("shares of spammers and the tail are not negative, seconds and haste above 0")
        if self.prior is not None and (len(self.prior) != self.classes or min(self.prior) < 0 or sum(self.prior) <= 0):
            raise ValueError(f"the prior needs {self.classes} shares, none negative, not all 0")
        if isinstance(self.skill, np.ndarray):
            k, shape = self.classes, self.skill.shape
            if shape not in ((k, k), (self.workers, k, k)):
                raise ValueError(f"the matrices have the shape {shape}, not {(k, k)} or {(self.workers, k, k)}")
            if (self.skill < 0).any() or not np.allclose(self.skill.sum(axis=-1), 1.0):
                raise ValueError("the rows of a confusion matrix are probabilities and sum to 1")
        elif min(self.skill) <= 0:
            raise ValueError(f"a Beta distribution has two numbers above 0, not {self.skill}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulated:
    """n judgments in the order they were given, and what is true of them.

    ``task``, ``worker``, ``label`` (int32) and ``seconds`` (float32) have the shape (n,); ``truth`` (int32) and
    ``difficulty`` (float64, the share of the edge over guessing that is lost) the shape (T,); ``kind`` (places in
    :data:`KINDS`), ``victim`` (whom a copier copies, else -1) and ``skill`` (the share of right judgments to expect of
    an untired worker on an easy task, averaged over the classes) the shape (W,). Spammers come after the honest.
    """

    task: NDArray[np.int32]
    worker: NDArray[np.int32]
    label: NDArray[np.int32]
    seconds: NDArray[np.float32]
    truth: NDArray[np.int32]
    difficulty: NDArray[np.float64]
    kind: NDArray[np.int32]
    victim: NDArray[np.int32]
    skill: NDArray[np.float64]
    classes: int

    @property
    def tasks(self) -> int:
        """T."""
        return len(self.truth)

    @property
    def workers(self) -> int:
        """W, spammers included."""
        return len(self.kind)

    @property
    def spammer(self) -> NDArray[np.bool_]:
        """Who is not honest; shape (W,)."""
        return self.kind > 0

    def rows(self) -> Iterator[tuple[str, str, str]]:
        """Task, worker and label as a CSV file of answers has them."""
        for task, worker, label in zip(self.task.tolist(), self.worker.tolist(), self.label.tolist(), strict=True):
            yield f"t{task}", f"w{worker}", str(label)


def simulate(crowd: Crowd) -> Simulated:
    """The judgments of a crowd; a million of them take about a second."""
    streams = [np.random.default_rng(s) for s in np.random.SeedSequence(crowd.seed).spawn(4)]
    given, honest, spam, pace = streams
    truth = given.choice(crowd.classes, crowd.tasks, p=_shares(crowd)).astype(np.int32)
    difficulty = given.uniform(0.0, crowd.difficulty, crowd.tasks)

    task, worker = _assignment(crowd, honest)
    when = honest.random(len(task))
    order = np.argsort(when)
    task, worker, when = task[order], worker[order], when[order]
    label, skill = _judged(crowd, truth[task], worker, difficulty[task], given.random(crowd.tasks)[task], honest)

    parts: list[_Columns] = [(task, worker, label, when)]
    kinds, victims = [0] * crowd.workers, [-1] * crowd.workers
    for kind, victim, part in _spam(crowd, len(kinds), parts[0], spam):
        kinds.append(kind)
        victims.append(victim)
        parts.append(part)
    *columns, when = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(when, kind="stable")
    tasks, workers, labels = (column[order].astype(np.int32) for column in columns)
    kind_of, victim_of = np.array(kinds, np.int32), np.array(victims, np.int32)
    spammers = np.where(victim_of >= 0, skill[victim_of], 1.0 / crowd.classes)[crowd.workers :]
    return Simulated(
        task=tasks,
        worker=workers,
        label=labels,
        seconds=_seconds(crowd, workers, kind_of, pace),
        truth=truth,
        difficulty=difficulty,
        kind=kind_of,
        victim=victim_of,
        skill=np.concatenate([skill, spammers]),
        classes=crowd.classes,
    )


def _shares(crowd: Crowd) -> NDArray[np.float64]:
    """The class prior, summing to 1; shape (K,)."""
    shares = np.ones(crowd.classes) if crowd.prior is None else np.asarray(crowd.prior, np.float64)
    return np.asarray(shares / shares.sum())


def _participation(crowd: Crowd, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Shares of the work of ``count`` workers, long-tailed, in no order; shape (count,)."""
    shares = np.arange(1.0, count + 1) ** -crowd.tail
    return np.asarray(rng.permutation(shares / shares.sum()))


def _assignment(crowd: Crowd, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of task and honest worker, each at most once; two arrays of the shape (n,)."""
    shares = _participation(crowd, crowd.workers, rng)
    whole, fraction = divmod(crowd.redundancy, 1)
    wanted = np.full(crowd.tasks, int(whole)) + (rng.random(crowd.tasks) < fraction)
    if crowd.workers <= 4 * crowd.redundancy:
        # few to choose from: the smallest of exponential times with these rates, which is drawing without replacement
        task = np.repeat(np.arange(crowd.tasks), wanted)
        place = np.arange(len(task)) - np.repeat(np.cumsum(wanted) - wanted, wanted)
        ranked = np.argsort(rng.exponential(size=(crowd.tasks, crowd.workers)) / shares, axis=1)
        return task, ranked[task, place]
    task = np.repeat(np.arange(crowd.tasks), wanted)
    edges = np.cumsum(shares)
    worker = np.minimum(np.searchsorted(edges, rng.random(len(task))), crowd.workers - 1)
    while True:  # who came twice to a task is drawn again, until nobody does
        pair = task * crowd.workers + worker
        order = np.argsort(pair, kind="stable")
        twice = order[1:][pair[order][1:] == pair[order][:-1]]
        if not len(twice):
            return task, worker
        worker[twice] = np.minimum(np.searchsorted(edges, rng.random(len(twice))), crowd.workers - 1)


def _progress(worker: NDArray[np.int64], workers: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each row, how many its worker gave before it, and how many it gives in all."""
    counts = np.bincount(worker, minlength=workers)
    order = np.argsort(worker, kind="stable")
    before = np.empty(len(worker), np.int64)
    before[order] = np.arange(len(worker)) - np.repeat(np.cumsum(counts) - counts, counts)
    return before, counts[worker]


def _judged(
    crowd: Crowd,
    truth: NDArray[np.int32],
    worker: NDArray[np.int64],
    difficulty: NDArray[np.float64],
    tempting: NDArray[np.float64],
    rng: np.random.Generator,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """What honest workers say, row by row, shape (n,); and how good they are when fresh, shape (W,)."""
    n, k = len(truth), crowd.classes
    before, given = _progress(worker, crowd.workers)
    tired = (before % crowd.session) / max(1, crowd.session - 1) * crowd.fatigue
    kept = (1.0 - difficulty) * (1.0 - tired)
    drifts = (rng.random(crowd.workers) < crowd.drifting) * crowd.drift
    drifted = drifts[worker] * before / np.maximum(1, given - 1)
    chance, u, v = 1.0 / k, rng.random(n), rng.random(n)
    if not isinstance(crowd.skill, np.ndarray):
        skill = rng.beta(*crowd.skill, size=crowd.workers)
        right = chance + (np.clip(skill[worker] + drifted, 0.0, 1.0) - chance) * kept
        wrong = np.where(rng.random(n) < crowd.decoy, tempting, v)  # which of the K - 1 wrong ones
        away = 1 + np.minimum((wrong * (k - 1)).astype(np.int64), k - 2)
        return np.where(u < right, truth, (truth + away) % k), skill
    matrices = np.broadcast_to(crowd.skill, (crowd.workers, k, k))
    kept = np.clip(kept * (1.0 + drifted), 0.0, 1.0)
    label = np.empty(n, np.int64)
    for start in range(0, n, _CHUNK):
        part = slice(start, start + _CHUNK)
        edges = np.cumsum(matrices[worker[part], truth[part]], axis=1)[:, :-1]
        label[part] = (u[part, None] > edges).sum(axis=1)
    guessed = v >= kept
    label[guessed] = rng.integers(0, k, int(guessed.sum()))
    return label, np.asarray(matrices.trace(axis1=1, axis2=2) / k)


def _spam(crowd: Crowd, first: int, honest: _Columns, rng: np.random.Generator) -> Iterator[tuple[int, int, _Columns]]:
    """Each spammer's kind, victim and columns; a copier judges after the one it copies."""
    task, worker, label, when = honest
    shares = (0.0, crowd.random, crowd.constant, crowd.copying)
    counts = [round(share * crowd.workers) for share in shares]
    kinds = np.repeat(np.arange(len(counts)), counts)
    work = _participation(crowd, len(kinds), rng) * len(task) * len(kinds) / crowd.workers if len(kinds) else kinds
    given = np.bincount(worker, minlength=crowd.workers)
    for i, kind in enumerate(kinds.tolist()):
        n = max(1, min(crowd.tasks, round(float(work[i]))))
        victim = -1
        if kind == KINDS.index("copying"):
            busy = np.flatnonzero(given >= n)  # one with as much to copy, or else the busiest
            victim = int(rng.choice(busy)) if len(busy) else int(np.argmax(given))
            rows = np.flatnonzero(worker == victim)
            rows = rng.choice(rows, min(n, len(rows)), replace=False)
            said = np.where(rng.random(len(rows)) < crowd.slip, rng.integers(0, crowd.classes, len(rows)), label[rows])
            tasks, times = task[rows], when[rows] + (1.0 - when[rows]) * rng.random(len(rows))
        else:
            tasks, times = rng.choice(crowd.tasks, n, replace=False), rng.random(n)
            said = rng.integers(0, crowd.classes, n if kind == KINDS.index("random") else 1)
        yield kind, victim, (tasks, np.full(len(tasks), first + i), np.broadcast_to(said, len(tasks)), times)


def _seconds(
    crowd: Crowd, worker: NDArray[np.int32], kind: NDArray[np.int32], rng: np.random.Generator
) -> NDArray[np.float32]:
    """What each judgment took; shape (n,). Workers' own medians differ by a factor of about 1.5."""
    median = np.log(crowd.seconds * np.where(kind > 0, crowd.haste, 1.0)) + rng.normal(0.0, 0.4, len(kind))
    return np.exp(rng.normal(median[worker], 0.5)).astype(np.float32)
