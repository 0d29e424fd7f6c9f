"""What every case is given: a broker, a folder to work in, and how much to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks import tasks

#: What a case measured: figures by name.
Figures = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much each case does: tasks or messages, seconds of sleep for each worker, restarts of a
    broker."""

    rounds: int
    tasks: int
    singles: int
    celery: int
    chunked: int
    dramatiq: int
    latency: int
    memory: int
    micro: int
    naps: float
    restarts: int
    judgments: int


FULL = Sizes(
    rounds=3, tasks=500_000, singles=20_000, celery=5_000, chunked=100_000, dramatiq=20_000, latency=200,
    memory=5_000_000, micro=20_000, naps=10, restarts=9, judgments=1_000_000,
)  # fmt: skip
QUICK = Sizes(
    rounds=1, tasks=100_000, singles=5_000, celery=1_000, chunked=20_000, dramatiq=5_000, latency=50,
    memory=500_000, micro=5_000, naps=3, restarts=3, judgments=100_000,
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Context:
    """Where and how much. The folder must lie on a disk and not in memory: stores have to pay for their syncs."""

    broker: str
    folder: Path
    sizes: Sizes

    def source(self, count: int) -> Path:
        """A JSON Lines file of so many tasks."""
        return tasks.write(self.folder / f"tasks-{count}.jsonl", count)


@dataclass(frozen=True, kw_only=True)
class Case:
    """Something to measure: run once a round, or only in the first one."""

    name: str
    title: str
    run: Callable[[Context], Figures]
    once: bool = False
