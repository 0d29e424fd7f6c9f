"""Writes result bundles, from a running aggregator or from a store."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from manyhands_aggregator import answers, export, record
from manyhands_aggregator.bundle.files import (
    ANSWERS_CSV,
    ANSWERS_JSONL,
    FILES,
    JUDGMENTS,
    MANIFEST,
    TASKS,
    Bundle,
    NoBundle,
)
from manyhands_aggregator.bundle.making import complete
from manyhands_cli.accounts import see
from manyhands_cli.client import Client
from manyhands_cli.errors import FolderRefused, StillOpen, Unsteady
from manyhands_cli.paths import of_job
from manyhands_service.store import Store

#: The files that the aggregator makes.
STREAMED = (TASKS, JUDGMENTS, ANSWERS_CSV, ANSWERS_JSONL)
#: Times that a job is read whose answers change meanwhile: late judgments may come, and letters be replayed.
TRIES = 3
#: Seconds that the answers of a job that its deadline has ended may still be gone over, and between two looks.
PATIENCE, LOOK = 60.0, 0.2


class Recorded(Protocol):
    """A job as somebody has it on record."""

    def facts(self) -> dict[str, Any]:
        """What :func:`manyhands_aggregator.record.about` says."""

    def stream(self, file: str) -> Iterator[bytes]:
        """One of the files in ``STREAMED``."""


class OverApi:
    """A job of a running aggregator."""

    def __init__(self, client: Client, job: str) -> None:
        self._client, self._job = client, job

    def facts(self) -> dict[str, Any]:
        """What it says of the job."""
        said: dict[str, Any] = self._client.call("GET", of_job(self._job, "/record"))
        return said

    def stream(self, file: str) -> Iterator[bytes]:
        """A file, block by block."""
        return self._client.stream(of_job(self._job, f"/{file}"))


class FromStore:
    """A job in the aggregator's store."""

    def __init__(self, store: Store, job: str) -> None:
        self._store, self._job = store, job

    def facts(self) -> dict[str, Any]:
        """What the store says of the job; of one that has ended, nothing that depends on the time."""
        return record.about(self._store, self._job, 0.0)

    def stream(self, file: str) -> Iterator[bytes]:
        """A file, block by block."""
        name, _, kind = file.rpartition(".")
        if name in record.STREAMS:
            return record.STREAMS[name](self._store, self._job)
        return export.STREAMS[kind][0](answers.blocks(self._store, self._job))


@contextmanager
def opened(url: str) -> Iterator[Store]:
    """The store of an aggregator that need not run.

    Raises:
        StoreUnavailable: there is no such store.
    """
    see(url, "aggregator")
    store = Store(url, "aggregator", "manyhands_aggregator")
    try:
        yield store
    finally:
        store.close()


@contextmanager
def of_store(url: str, job: str) -> Iterator[FromStore]:
    """A job in such a store."""
    with opened(url) as store:
        yield FromStore(store, job)


def write(recorded: Recorded, folder: Path, plan: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Write the bundle of a job that has ended, in the place of one that is there; returns its manifest.

    The folder is there whole or not at all. With what was foretold in a ``plan`` the report says how right it was.

    Raises:
        StillOpen: the job has not ended.
        FolderRefused: what is there is no bundle, or holds what is not of it.
        Unsteady: its answers changed again and again while they were read.
    """
    free(folder)
    folder = folder.resolve()  # a link to a bundle stays one
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # of one that was killed
    try:
        partial.mkdir()
        manifest = complete(partial, _fetch(recorded, partial), plan)
        for file in (*FILES, MANIFEST):
            _sync(partial / file)
        _sync(partial)
        _replace(folder, partial)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return manifest


def _ended(recorded: Recorded) -> dict[str, Any]:
    """What is said of the job, once its answers have been gone over."""
    ends = time.monotonic() + PATIENCE
    while (facts := recorded.facts())["state"] == "open" or facts.get("due"):
        if facts["state"] == "open":
            raise StillOpen(f"{facts['job']} has {facts['tasks'] - facts['answered']:,} tasks without an answer")
        if time.monotonic() > ends:
            raise StillOpen(f"the answers of {facts['job']} are still to be gone over as a whole by an aggregator")
        time.sleep(LOOK)
    return facts


def _replace(folder: Path, new: Path) -> None:
    old = folder.with_name(f".{folder.name}.old")
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    try:
        new.rename(folder)
    except OSError:
        if old.exists():
            old.rename(folder)
        raise
    _sync(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def free(folder: Path) -> None:
    """See that nobody loses anything when the folder is written.

    Raises:
        FolderRefused: what is there is no bundle, or holds what is not of it.
    """
    if not folder.exists():
        return
    if folder.resolve() == Path.cwd():  # it is replaced as a whole, from under whoever is in it
        raise FolderRefused(f"{folder} is the folder that you are in")
    if not folder.is_dir():
        raise FolderRefused(f"{folder} is a file")
    there = {file.name for file in folder.iterdir()}
    if there and MANIFEST not in there:
        raise FolderRefused(f"{folder} holds other things")
    try:
        strange = Bundle.open(folder).strange() if there else []
    except NoBundle as error:
        raise FolderRefused(str(error)) from error
    if strange:
        raise FolderRefused(f"{folder}: {strange[0]}")


def _fetch(recorded: Recorded, folder: Path) -> dict[str, Any]:
    """Fetch the files; what comes one after the other must be of one moment."""
    for _ in range(TRIES):
        facts = _ended(recorded)
        for name in STREAMED:
            with (folder / name).open("wb") as file:
                for block in recorded.stream(name):
                    file.write(block)
        if recorded.facts() == facts:
            return facts
    raise Unsteady(facts["job"])


def _sync(path: Path) -> None:
    if path.is_dir() and os.name != "posix":  # elsewhere folders are no files
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
