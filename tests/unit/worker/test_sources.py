"""What a worker is told, by variables and by a file."""

from pathlib import Path

import pytest

from manyhands.errors import SettingsError
from manyhands.settings import load
from manyhands_worker.settings import WorkerSettings
from manyhands_worker.sources import joined, named_by, read, setup_of


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


MODEL = "llm: {m: {url: 'http://x/v1', model: small}}\n"


def test_models_are_told_what_to_ask(tmp_path: Path) -> None:
    """Question and answer type are those of the file; the version changes with them, or is as given."""
    file = tmp_path / "job.yaml"
    versions = set()
    for rest in ("question: a", "question: b", "question: b\nsuite: 3"):
        file.write_text(f"{MODEL}answer: {{type: choice, options: [0, 1]}}\n{rest}\n")
        found = read(file)
        told = setup_of(found, load(WorkerSettings, children=4), "h")
        assert (told.llm["m"]["question"], told.children) == (rest.split()[1], 4)
        assert told.llm["m"]["answer"]["options"] == ["0", "1"]
        versions.add(told.llm["m"]["version"])
        assert joined(found, found) == found
    assert len(versions) == 2
    assert all(version.startswith("small-") for version in versions)
    file.write_text("answer: {type: text}\nllm: {m: {url: 'http://x', model: small, version: '7'}}\n")
    assert setup_of(read(file), load(WorkerSettings), "h").llm["m"]["version"] == "7"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (MODEL, "answer: a judge of llm needs this key"),
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
