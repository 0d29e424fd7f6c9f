"""Handlers: registered by a decorator, loaded by name or path, and tried out in an author's own tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import manyhands
from manyhands import Judgment, RejectTask, handlers, judge
from manyhands.errors import HandlerError
from manyhands.handlers import load, registered
from manyhands.testing import judged


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty registry, and the modules and the path as they were."""
    monkeypatch.setattr(handlers, "_registry", {})
    modules, path = set(sys.modules), list(sys.path)
    yield
    for name in set(sys.modules) - modules:
        del sys.modules[name]
    sys.path[:] = path


def written(folder: Path, text: str, name: str = "mine.py") -> Path:
    """A file of handlers."""
    file = folder / name
    file.write_text("from manyhands import judge, Judgment\n" + text, encoding="utf-8")
    return file


def test_what_an_author_imports() -> None:
    """Everything that an author needs comes from the package itself."""
    assert {"judge", "Judgment", "RetryTask", "RejectTask"} <= set(manyhands.__all__)
    assert all(hasattr(manyhands, name) for name in manyhands.__all__)


def test_a_function() -> None:
    """The decorator registers a function and leaves it as it is."""

    @judge("length", version="3", time_limit=5)
    def length(text: str) -> int:
        return len(text)

    assert length("abc") == 3
    handler = registered()["length"]
    assert (handler.target, handler.version, handler.batch, handler.time_limit) == (length, "3", False, 5)


@pytest.mark.parametrize("name", ["", "Length", "a.b", "a b", "a" * 65])
def test_names(name: str) -> None:
    """A name that no queue can have is refused where it is written."""
    with pytest.raises(HandlerError, match="small letters"):
        judge(name)


def test_judged() -> None:
    """An author's test calls a handler without any process: plain values become judgments."""

    @judge("upper")
    def upper(text: str) -> str | Judgment:
        return Judgment(text.upper(), 0.9) if text else "?"

    assert judged("upper", ["a", ""]) == [Judgment("A", 0.9), Judgment("?")]


def test_judged_by_a_class_in_batches() -> None:
    """A class is made once and called with the whole batch."""
    made = []

    @judge("add", batch=True)
    class Add:
        def __init__(self) -> None:
            made.append(self)

        def __call__(self, numbers: list[int]) -> list[int]:
            return [n + len(numbers) for n in numbers]

    assert judged("add", [1, 2, 3]) == [Judgment(4), Judgment(5), Judgment(6)]
    assert len(made) == 1


def test_judged_wrongly() -> None:
    """A judge that is not there, or a batch of another length, is told; what a handler raises comes through."""

    @judge("short", batch=True)
    def short(payloads: list[str]) -> list[str]:
        return payloads[1:]

    @judge("never")
    def never(_: str) -> str:
        raise RejectTask("no picture")

    with pytest.raises(HandlerError, match="'nobody'"):
        judged("nobody", [])
    with pytest.raises(HandlerError, match="short returned 1 judgments for 2 tasks"):
        judged("short", ["a", "b"])
    with pytest.raises(RejectTask, match="no picture"):
        judged("never", ["a"])


def test_load_file(tmp_path: Path) -> None:
    """A file is loaded by its path, once, and can import its neighbours."""
    (tmp_path / "neighbour_of_mine.py").write_text("ANSWER = 'yes'\n")
    file = written(tmp_path, "from neighbour_of_mine import ANSWER\n@judge('a')\ndef a(x): return ANSWER\n")
    first = load(str(file))["a"]
    assert judged("a", [None]) == [Judgment("yes")]
    assert load(str(file))["a"] is first


def test_files_of_the_same_name(tmp_path: Path) -> None:
    """Two files called alike in different folders are both loaded."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        load(str(written(tmp_path / name, f"@judge('{name}')\ndef f(x): return x\n")))
    assert registered().keys() == {"one", "two"}


def test_load_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module is loaded by its name, from the current folder too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    (tmp_path / "my_package_of_judges").mkdir()
    written(tmp_path / "my_package_of_judges", "@judge('b')\ndef b(x): return x\n", "inner.py")
    assert load("my_package_of_judges.inner").keys() == {"b"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import no_such_module_at_all\n", "no module named 'no_such_module_at_all'; is it installed"),
        ("def broken(:\n", "SyntaxError"),
        ("1 / 0\n", "ZeroDivisionError: division by zero"),
        ("judge('A B')\n", "small letters"),
    ],
)
def test_a_file_that_fails(tmp_path: Path, text: str, said: str) -> None:
    """What goes wrong while a file is imported is one sentence; a later attempt reads it anew."""
    file = written(tmp_path, text)
    with pytest.raises(HandlerError, match=said):
        load(str(file))
    written(tmp_path, "@judge('mended')\ndef f(x): return x\n")
    assert "mended" in load(str(file))


@pytest.mark.parametrize("reference", ["no_such_module_at_all", "no.such.module", "", ".relative", "no/such/file.py"])
def test_nothing_there(reference: str) -> None:
    """A module or file that is not there is one sentence that names it."""
    with pytest.raises(HandlerError, match=r"no module named|there is no file|Error"):
        load(reference)
