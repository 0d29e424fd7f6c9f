"""Result bundles: what is in them, that answers can be computed from them, and that nothing is lost by writing them."""

from __future__ import annotations

import csv
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from manyhands.messages import Failure
from manyhands_aggregator import answers, record
from manyhands_aggregator.bundle import files
from manyhands_aggregator.bundle.files import FILES, Bundle, NoBundle
from manyhands_cli.bundle import FromStore, write
from manyhands_cli.errors import FolderRefused, StillOpen, Unsteady
from manyhands_cli.main import app
from tests.unit.aggregator.kit import Job
from tests.unit.cli.bundles import Shelf, computed, letters, lines

LARGE = Failure(code="too-large", message="1 MiB")


def test_what_is_in_a_bundle(shelf: Shelf) -> None:
    """Every judgment and failure by position, judge and slot; the workers; the manifest, with a digest of each file."""
    job = letters(shelf.bench)
    bundle = shelf.bundle(job)
    assert {file.name for file in bundle.folder.iterdir()} == {*FILES, files.MANIFEST}
    said = lines(bundle.folder / files.JUDGMENTS)
    assert [(line["position"], line["judge"]) for line in said[:6]] == [
        (0, "one"), (0, "two"), (0, "three"), (1, "one"), (1, "two"), (1, "three"),
    ]  # fmt: skip
    assert said[0] == {
        "position": 0, "id": "0", "stage": 0, "judge": "one", "slot": 0, "worker": "w", "value": "a",
        "confidence": 0.5, "started": 1.0, "finished": 2.0, "version": "1", "attempt": 1,
    }  # fmt: skip
    assert said[2]["cost"] == 0.5
    failed = [line for line in said if "error" in line]
    assert [(line["position"], line["judge"], line["error"]["code"]) for line in failed] == [
        (2, "three", "error"), (3, "three", "error"),
    ]  # fmt: skip
    assert "cost" not in failed[0]
    assert lines(bundle.folder / files.TASKS)[1] == {"position": 1, "id": "1", "suite": 0, "truth": "b"}
    rows = {row["judge"]: row for row in csv.DictReader((bundle.folder / files.WORKERS).read_text().splitlines())}
    assert (rows["three"]["judgments"], rows["three"]["errors"], rows["three"]["cost"]) == ("4", "2", "2")
    assert (rows["one"]["gold"], rows["one"]["accuracy"]) == ("6", "0.333333")
    manifest = bundle.manifest
    assert (manifest["job"], manifest["state"], manifest["method"]) == (job.id, "complete", "majority")
    assert set(manifest["files"]) == set(FILES)
    assert set(manifest["versions"]) == {"manyhands", "numpy", "python"}
    assert bundle.changed() == []


def test_the_same_job_is_the_same_bundle(shelf: Shelf) -> None:
    """To the byte, whenever it is written: nothing of the moment is in it."""
    job = letters(shelf.bench)
    one, other = shelf.bundle(job, "one"), shelf.bundle(job, "other")
    for name in (*FILES, files.MANIFEST):
        assert (one.folder / name).read_bytes() == (other.folder / name).read_bytes()


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_was_changed_is_named(shelf: Shelf, name: str) -> None:
    """By one byte, or away."""
    bundle = shelf.bundle(letters(shelf.bench))
    file = bundle.folder / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    (said,) = bundle.changed()
    assert said.startswith(f"{name} is not what was written")
    file.unlink()
    (said,) = bundle.changed()
    assert said.startswith(f"{name} cannot be read")


def test_what_was_added_or_said_otherwise_is_named(shelf: Shelf) -> None:
    """A file that is not of the bundle, and a manifest of which a word was changed; what is computed may lie there."""
    bundle = shelf.bundle(letters(shelf.bench))
    (bundle.folder / "reaggregated.csv").write_text("")
    assert bundle.changed() == []
    (bundle.folder / "answers2.csv").write_text("")
    (bundle.folder / "\x1b[31mred").write_text("")
    manifest = bundle.folder / files.MANIFEST
    manifest.write_text(manifest.read_text().replace('"complete"', '"cancelled"'))
    one, *others = Bundle.open(bundle.folder).changed()
    assert one.startswith("bundle.json is not what was written")
    assert others == [r"'\x1b[31mred' is not of the bundle", "answers2.csv is not of the bundle"]


def test_what_is_no_bundle_is_said(tmp_path: Path, shelf: Shelf) -> None:
    """No manifest, another format, or files that do not fit together: an error names the folder."""
    with pytest.raises(NoBundle, match=r"bundle\.json"):
        Bundle.open(tmp_path / "nowhere")
    bundle = shelf.bundle(letters(shelf.bench))
    (bundle.folder / files.MANIFEST).write_text('{"format": "other"}')
    with pytest.raises(NoBundle, match="format"):
        Bundle.open(bundle.folder)
    for line in (b"[]\n", b"{}\n", b'{"position": 99, "judge": "one"}\n', b"no JSON\n"):
        (bundle.folder / files.JUDGMENTS).write_bytes(line)
        with pytest.raises(NoBundle, match="do not fit together"):
            computed(bundle)


def test_a_folder_that_is_no_bundle_is_not_written_over(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor one that holds what is not of the bundle; a bundle makes room, with what was computed from it."""
    job = letters(shelf.bench)
    for content in ("notes.txt", "answers.csv"):
        folder = shelf.folder / content.replace(".", "-")
        folder.mkdir()
        (folder / content).write_text("mine")
        with pytest.raises(FolderRefused):
            write(shelf.recorded(job), folder)
        assert (folder / content).read_text() == "mine"
    file = shelf.folder / "file"
    file.write_text("mine")
    with pytest.raises(FolderRefused, match="is a file"):
        write(shelf.recorded(job), file)
    bundle = shelf.bundle(job)
    (bundle.folder / "reaggregated.csv").write_text("")
    shelf.bundle(job)
    assert not (bundle.folder / "reaggregated.csv").exists()
    (bundle.folder / "notes.txt").write_text("mine")
    with pytest.raises(FolderRefused, match=r"notes\.txt"):
        shelf.bundle(job)
    link = shelf.folder / "link"
    link.symlink_to(bundle.folder)
    (bundle.folder / "notes.txt").unlink()
    shelf.bundle(job, "link")
    assert (link.is_symlink(), bundle.changed()) == (True, [])
    monkeypatch.chdir(bundle.folder)
    for here in (Path(), bundle.folder):
        with pytest.raises(FolderRefused, match="the folder that you are in"):
            write(shelf.recorded(job), here)
    (shelf.folder / "empty").mkdir()
    assert shelf.bundle(job, "empty").changed() == []


class _Broken(FromStore):
    """Breaks off in the middle of the judgments."""

    def stream(self, file: str) -> Iterator[bytes]:
        """A file, or the beginning of one."""
        yield next(super().stream(file))
        if file == files.JUDGMENTS:
            raise ConnectionError("gone")


def test_a_bundle_is_there_whole_or_not_at_all(shelf: Shelf) -> None:
    """One that breaks off leaves nothing behind, and what was there before as it was."""
    job = letters(shelf.bench)
    before = set(shelf.folder.iterdir())
    with pytest.raises(ConnectionError):
        write(_Broken(shelf.store, job.id), shelf.folder / "bundle")
    assert set(shelf.folder.iterdir()) == before
    bundle = shelf.bundle(job)
    with pytest.raises(ConnectionError):
        write(_Broken(shelf.store, job.id), bundle.folder)
    assert bundle.changed() == []
    assert set(shelf.folder.iterdir()) == {*before, bundle.folder}


class _Changing(FromStore):
    """A job to which something happens while it is read."""

    def __init__(self, shelf: Shelf, job: Job, times: int) -> None:
        super().__init__(shelf.store, job.id)
        self._times, self._seen = times, 0

    def facts(self) -> dict[str, Any]:
        """The facts, of which one is another each time until it settles."""
        self._seen += 1
        return {**super().facts(), "judgments": min(self._seen, self._times)}


def test_a_bundle_is_of_one_moment(shelf: Shelf) -> None:
    """A job whose answers change while they are read is read again; one that goes on changing is no bundle."""
    job = letters(shelf.bench)
    assert write(_Changing(shelf, job, 2), shelf.folder / "settles")["judgments"] == 2
    with pytest.raises(Unsteady):
        write(_Changing(shelf, job, 100), shelf.folder / "never")
    assert not (shelf.folder / "never").exists()


def test_an_open_job_has_no_bundle(shelf: Shelf) -> None:
    """It says so, and leaves nothing."""
    job = Job()
    shelf.bench.take(*job.news())
    with pytest.raises(StillOpen):
        shelf.bundle(job)
    assert not (shelf.folder / "bundle").exists()


def test_what_is_streamed_is_not_held(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten times the tasks take no more memory: a page of suites is held at a time."""
    monkeypatch.setattr(answers, "ROWS", 200)
    peaks = []
    for count in (600, 6000):
        job = Job(count=count, size=50, judges=["one", "two"])
        shelf.bench.take(*job.news())
        for suite in range(job.suites):
            shelf.bench.take(job.judged(suite), job.judged(suite, judge="two"))
        list(record.judgments(shelf.store, job.id))  # whatever is kept for ever is there now
        tracemalloc.start()
        lines = sum(block.count(b"\n") for block in record.judgments(shelf.store, job.id))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert lines == 2 * count
    assert peaks[1] < 1.5 * peaks[0], peaks


def test_a_bundle_is_a_whole_folder(tmp_path: Path) -> None:
    """--bundle goes with no option that is about one file."""
    done = CliRunner().invoke(app, ["results", "job-1", "--bundle", str(tmp_path / "b"), "--failed"])
    assert done.exit_code == 2
