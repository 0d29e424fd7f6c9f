"""The output folder of a run: what goes on, what begins afresh."""

from __future__ import annotations

from pathlib import Path

import pytest

from manyhands.errors import SettingsError
from manyhands.spec import JobSpec, parse
from manyhands_cli.errors import FolderTaken
from manyhands_cli.folder import Folder


def job(suite: int = 10) -> JobSpec:
    """A job."""
    stages = [{"judges": ["j"]}]
    return parse({"name": "n", "answer": {"type": "text"}, "stages": stages, "suite": suite}, file="job.yaml")


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """A folder where the job n-1 was begun on the default broker and store."""
    folder = Folder(tmp_path / "out")
    folder.claim()
    folder.begin("n-1", job(), "memory://", folder.own_store)
    return folder


def test_an_unfinished_run_goes_on(folder: Folder) -> None:
    """Read anew, the folder knows the job that was begun."""
    again = Folder(folder.path)
    assert again.resumable(job(), "memory://", again.own_store) == "n-1"
    assert again.job == again.unfinished() == "n-1"


def test_an_ended_run_does_not_go_on(folder: Folder) -> None:
    """After its end the same job begins afresh; its id is still known, for the audit."""
    folder.end()
    again = Folder(folder.path)
    assert again.resumable(job(), "memory://", again.own_store) is None
    assert again.unfinished() is None
    assert again.job == "n-1"


def test_another_job_broker_or_store_begins_afresh(folder: Folder) -> None:
    """What was published on one broker is not in the queues of another."""
    store = folder.own_store
    assert folder.resumable(job(suite=11), "memory://", store) is None
    assert folder.resumable(job(), "amqp://localhost/", store) is None
    assert folder.resumable(job(), "memory://", "postgresql://localhost/db") is None


def test_a_fresh_run_clears_the_scratch_store(folder: Folder) -> None:
    """The run's own store goes, and nothing else does."""
    scratch, answers = folder.path / "manyhands-producer.db", folder.path / "answers.csv"
    for file in (scratch, answers):
        file.touch()
    folder.begin("n-2", job(), "memory://", "postgresql://localhost/db")
    assert scratch.exists()
    folder.begin("n-3", job(), "memory://", folder.own_store)
    assert not scratch.exists()
    assert answers.exists()


def test_two_runs_do_not_share_a_folder(folder: Folder) -> None:
    """The second is refused while the first holds it."""
    with pytest.raises(FolderTaken, match="--out"):
        Folder(folder.path).claim()


def test_no_password_is_kept(folder: Folder) -> None:
    """The note of a run names its store without the password; an audit must be given it."""
    store = "postgresql://user:secret@localhost/db"
    folder.begin("n-2", job(), "amqp://user:hidden@localhost/", store)
    said = (folder.path / "run.json").read_text()
    assert "secret" not in said
    assert "hidden" not in said
    again = Folder(folder.path)
    assert again.resumable(job(), "amqp://user:hidden@localhost/", store) == "n-2"
    with pytest.raises(SettingsError, match="give --store"):
        _ = again.store


def test_a_torn_note_is_no_note(folder: Folder) -> None:
    """A folder with a note that cannot be read is as one without."""
    (folder.path / "run.json").write_text('{"job": "n-')
    assert Folder(folder.path).job is None


def test_a_folder_may_be_moved(folder: Folder, tmp_path: Path) -> None:
    """The note names a store that is in the folder by its path from there; one that names it in full is read, too."""
    for store in (folder.own_store, f"sqlite:///{folder.path / 'mine.db'}"):
        folder.begin("n-2", job(), "memory://", store)
        assert Folder(folder.path).store == store
        moved = folder.path.rename(tmp_path / "moved")
        assert Folder(moved).store == store.replace(str(folder.path), str(moved))
        moved.rename(folder.path)
    (folder.path / "run.json").write_text('{"job": "n-1", "store": "sqlite:////elsewhere/m.db"}')
    assert Folder(folder.path).store == "sqlite:////elsewhere/m.db"
