"""Where a command asks about a job: the running aggregator, or the store that a run has left in its output folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from manyhands_cli.options import aggregator_client
from manyhands_cli.paths import of_job

if TYPE_CHECKING:
    from manyhands_service.store import Store


class Source(Protocol):
    """What answers requests of the aggregator's API."""

    def call(self, method: str, path: str, **options: Any) -> Any:
        """A request, and its JSON."""

    def stream(self, path: str) -> Iterator[bytes]:
        """A file, block by block."""


@contextmanager
def source_of(job: str, aggregator: str, token: str | None, ca: Path | None) -> Iterator[tuple[Source, str]]:
    """Who answers about a job, and the job's id; ``job`` is that, or the output folder of a `run`.

    Raises:
        StoreUnavailable: the store of that run is not there.
    """
    from manyhands_cli.folder import Folder

    run = Folder(Path(job)) if job else None
    if run is None or run.job is None:
        yield aggregator_client(aggregator, token, ca), job
        return
    from manyhands_cli.bundle import opened

    with opened(run.store) as store:
        yield OwnStore(store, run.job), run.job


class OwnStore:
    """Answers about one job as the aggregator's API does, out of a store; only what is read, and what commands ask."""

    def __init__(self, store: Store, job: str) -> None:
        self._store, self._job = store, job

    def call(self, method: str, path: str, **options: Any) -> Any:  # noqa: ARG002  every request is a GET
        """What the API would say to it."""
        return self._answers()[path.removeprefix(of_job(self._job))](**options.get("params", {}))

    def stream(self, path: str) -> Iterator[bytes]:
        """A file, block by block."""
        from manyhands_aggregator import answers, export

        blocks = answers.blocks(self._store, self._job)
        name, _, kind = path.removeprefix(of_job(self._job)).rpartition(".")
        if name == "/failed":
            return export.failed_blocks(blocks)
        return export.parquet_blocks(blocks) if kind == "parquet" else export.STREAMS[kind][0](blocks)

    def _answers(self) -> Mapping[str, Callable[..., Any]]:
        from manyhands_aggregator import agreement, reading, record, rewards, workers

        store, job, now = self._store, self._job, time.time()
        return {
            "": lambda: store.read(lambda c: reading.progress(c, job, now)),
            "/agreement": lambda: agreement.of_job(store, job),
            "/record": lambda: record.about(store, job, now),
            "/rewards": lambda: rewards.of_job(store, job),
            "/unserved": lambda: {"judges": None},  # no broker is asked
            "/worker": lambda name: workers.of_job(store, job).rating(name),
            "/workers": lambda: workers.rated(store, job),
        }
