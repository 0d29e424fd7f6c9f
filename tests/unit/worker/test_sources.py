"""What a worker is told, by variables and by a file."""

from pathlib import Path

import pytest

from manyhands.errors import SettingsError
from manyhands.settings import load
from manyhands_worker.settings import WorkerSettings
from manyhands_worker.sources import joined, named_by, read


def test_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists stand in one variable, parted by commas; each process gets a name of its own."""
    monkeypatch.setenv("MANYHANDS_JUDGES", "a, b")
    monkeypatch.setenv("MANYHANDS_HANDLERS", "x.py,y")
    settings = load(WorkerSettings)
    assert (settings.judges, settings.handlers) == (["a", "b"], ["x.py", "y"])
    assert settings.children >= 1
    assert settings.worker_id != load(WorkerSettings).worker_id


def test_a_job_file_will_do(tmp_path: Path) -> None:
    """The keys of a worker are taken from it, its paths are relative to it, the others are passed over."""
    file = tmp_path / "job.yaml"
    file.write_text("name: x\nhandlers: h.py\ncommands: {c: {command: [cat]}}\nhttp: {w: {url: 'http://x/'}}\n")
    found = read(file)
    assert found.handlers == [str(tmp_path / "h.py")]
    assert Path(found.commands["c"].folder) == tmp_path
    assert found.http["w"].time_limit == 60
    assert joined(found, found) == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a", "none of the keys"),
        ("a: [", "no YAML"),
        ("commands: {c: {commands: [x]}}", "commands.c.command: Field required"),
        ("http: {w: {url: ftp}}", "http.w.url"),
    ],
)
def test_a_file_that_is_not_right(tmp_path: Path, text: str, said: str) -> None:
    """One sentence names file and key."""
    file = tmp_path / "worker.yaml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=said):
        read(file)
    with pytest.raises(SettingsError, match="cannot be read"):
        read(tmp_path / "nowhere.yaml")


def test_handlers_take_the_place_of_the_files(tmp_path: Path) -> None:
    """Those of the settings replace the file's key; its commands and URLs stay."""
    file = tmp_path / "job.yaml"
    file.write_text("handlers: broken.py\ncommands: {c: {command: [cat]}}\nhttp: {w: {url: 'http://x/'}}\n")
    found = named_by(load(WorkerSettings, config=file, handlers="good.py,other"))
    assert found.handlers == ["good.py", "other"]
    assert (list(found.commands), list(found.http)) == (["c"], ["w"])
    assert named_by(load(WorkerSettings, config=file)) == read(file)
    assert named_by(load(WorkerSettings, handlers="good.py")).handlers == ["good.py"]
