"""Jobs in a store and their bundles, for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from manyhands_aggregator.bundle.again import Compared, again
from manyhands_aggregator.bundle.files import Bundle
from manyhands_aggregator.export import STREAMS
from manyhands_cli.bundle import FromStore, write
from manyhands_service.store import Store
from tests.unit.aggregator.kit import Bench, Job


class Shelf:
    """A store of an aggregator, worked by hand, and a folder for bundles."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.store, self.folder = store, folder
        self.bench = Bench(store)

    def recorded(self, job: Job) -> FromStore:
        """The job as the store has it."""
        return FromStore(self.store, job.id)

    def bundle(self, job: Job, name: str = "bundle") -> Bundle:
        """The job's bundle, written."""
        write(self.recorded(job), self.folder / name)
        return Bundle.open(self.folder / name)

    def answers(self, job: Job, kind: str = "csv") -> bytes:
        """The job's answers as the aggregator tells them."""
        return b"".join(self.recorded(job).stream(f"answers.{kind}"))


def lines(file: Path) -> list[dict[str, Any]]:
    """A file of JSON Lines."""
    return [json.loads(line) for line in file.read_text().splitlines()]


def computed(bundle: Bundle, kind: str = "csv", method: str | None = None) -> tuple[bytes, Compared]:
    """The answers of a bundle computed again, and how they compare."""
    compared = Compared()
    said = b"".join(STREAMS[kind][0](again(bundle, compared, method)))
    return said, compared


def letters(bench: Bench, **more: Any) -> Job:
    """A job of six tasks that three judges, one of which fails on a suite, have judged to its end."""
    given: dict[str, Any] = {"judges": ["one", "two", {"judge": "three", "price": 0.5}], "truths": list("abcabc")}
    job = Job(count=6, size=2, **given | more)
    bench.take(*job.news())
    for suite in range(3):
        bench.take(job.judged(suite, ["a", "b"], judge="one", confidences=[0.5 + suite / 10, None]))
        bench.take(job.judged(suite, ["a", "c"], judge="two"))
        third = job.failed(suite, judge="three") if suite == 1 else job.judged(suite, ["c", "c"], judge="three")
        bench.take(third)
    return job
