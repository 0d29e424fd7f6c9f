"""What handler authors write: functions and classes that judge, registered under a judge's name."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from manyhands.errors import HandlerError
from manyhands.topology import JUDGE_NAME


class Judgment(NamedTuple):
    """What a handler says of one task: a value of the job's answer type and, if it has one, its confidence (0..1).

    ``cost`` is what the judgment cost, in the job's money: of a paid service, say; it counts against the job's budget.
    ``worker`` is the id of the person who gave it, where the judge stands for people.
    """

    value: Any
    confidence: float | None = None
    cost: float | None = None
    worker: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """What a suite is of, for a handler that stands for many people: each slot of a task is for another of them.

    So is each ``attempt``: what somebody says who may give no more of the job's judgments is asked of another.
    """

    job: str = ""
    suite: int = 0
    stage: int = 0
    slot: int = 0
    attempt: int = 1


_asked = Asked()


def asked() -> Asked:
    """Which suite is being judged in this process."""
    return _asked


def ask(suite: Asked) -> None:
    """Say which suite is judged from now on; the worker's child does."""
    global _asked
    _asked = suite


@dataclass(frozen=True, slots=True, kw_only=True)
class Handler:
    """A registered handler.

    ``target`` is a function, or a class that is made once a child process. A batch handler gets the payloads of a whole
    suite and returns as many judgments. ``time_limit`` is the soft limit in seconds: of one task, or of one call of a
    batch handler.
    """

    name: str
    target: Callable[..., Any]
    version: str
    batch: bool
    time_limit: float | None


_registry: dict[str, Handler] = {}

T = TypeVar("T", bound=Callable[..., Any])


def judge(name: str, *, version: str = "1", batch: bool = False, time_limit: float | None = None) -> Callable[[T], T]:
    """Register a handler under a judge's name.

    A function gets one payload and returns its value or a :class:`Judgment`. A class is constructed once in each child
    process, so it is the place to load a model; its instances are called like the function. With ``batch`` either gets
    the list of a suite's payloads and returns a list as long.

    Raise :class:`RetryTask` to have a task tried again later and :class:`RejectTask` to set it aside; any other
    exception is retried up to the attempt cap. ``time_limit`` (seconds) ends a task that takes longer with
    ``TimeoutError``.
    """
    if not JUDGE_NAME.fullmatch(name):
        raise HandlerError(f"the judge's name {name!r} may have small letters, digits, - and _")

    def register(target: T) -> T:
        _registry[name] = Handler(name=name, target=target, version=version, batch=batch, time_limit=time_limit)
        return target

    return register


def registered() -> dict[str, Handler]:
    """The handlers registered so far, by judge name."""
    return dict(_registry)


def load(reference: str) -> dict[str, Handler]:
    """Import a module (``package.module``) or a file (``path/to/handlers.py``) and return all registered handlers.

    Raises:
        HandlerError: it cannot be found or fails while it is imported.
    """
    try:
        if reference.endswith(".py"):
            _load_file(Path(reference))
        else:
            if "" not in sys.path and str(Path.cwd()) not in sys.path:
                sys.path.insert(0, str(Path.cwd()))
            importlib.import_module(reference)
    except ModuleNotFoundError as error:
        raise HandlerError(
            f"{reference}: no module named {error.name!r}; is it installed and is its path right?"
        ) from error
    except HandlerError:
        raise
    except Exception as error:  # whatever the author's module raises is the author's to see, in one sentence
        raise HandlerError(f"{reference}: {type(error).__name__}: {error}") from error
    return registered()


def _load_file(path: Path) -> None:
    if not path.is_file():
        raise HandlerError(f"there is no file {path}")
    # the name is made from the path, so that two files called handlers.py do not take each other's place
    name = "manyhands_handlers_" + "".join(c if c.isalnum() else "_" for c in str(path.resolve()))
    if name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise HandlerError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(path.resolve().parent))  # its own neighbours can be imported, as when run as a script
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
