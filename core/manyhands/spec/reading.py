"""Job files as they are read or received, and errors that name file, line and key."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from manyhands.errors import SpecError
from manyhands.spec.answer import Answer
from manyhands.spec.base import RECEIVED
from manyhands.spec.configured import Command, Http
from manyhands.spec.llm import Llm
from manyhands.spec.model import JobSpec
from manyhands.spec.rewards import Rewards
from manyhands.spec.source import Gold, Source
from manyhands.spec.stages import Accept, Stage, StageJudge


def parse(data: object, *, file: str = "job") -> JobSpec:
    """A job from plain data.

    Raises:
        SpecError: names ``file``, and for data read by :func:`load` the line, the key and what was expected.
    """
    return _parse(data, file, "forbid", None)


def received(data: object, *, file: str = "job") -> JobSpec:
    """A job as another process sent or stored it, as plain data or as JSON.

    That may have been one of another version: keys that are not known here are passed over, as in any message, and a
    schema that this one would not have taken fails the answers that it cannot be applied to, and no more.

    Raises:
        SpecError: it is no job file.
    """
    return _parse(json.loads(data) if isinstance(data, str) else data, file, "ignore", RECEIVED)


def _parse(data: object, file: str, extra: Literal["forbid", "ignore"], context: str | None) -> JobSpec:
    try:
        return JobSpec.model_validate(data, extra=extra, context=context)
    except ValidationError as error:
        raise SpecError("; ".join(_say(file, data, e["loc"], e["type"], e["msg"]) for e in error.errors())) from error


def load(path: str | Path) -> JobSpec:
    """Read a job file. Relative paths in it are made relative to its own folder.

    Raises:
        SpecError: the file cannot be read, is no YAML, or is not a job; the text names file, line and key.
    """
    file = Path(path)
    return _anchored(parse(_read(file), file=str(file)), file.resolve().parent)


def where(path: str | Path, *loc: int | str) -> str:
    """``file:line`` of a key of a job file, for those who find more wrong with it than its schema does."""
    return f"{path}:{_line(_read(Path(path)), loc)}"


def _read(file: Path) -> Any:
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise SpecError(f"there is no file {file}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{file} cannot be read: {error}") from error
    try:
        data = YAML(typ="rt").load(io.StringIO(text))
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise SpecError(f"{file}:{line}: this is no YAML: {error.problem}") from error
    except (YAMLError, RecursionError) as error:  # a character that YAML forbids has no line
        raise SpecError(f"{file}: this is no YAML: {str(error).splitlines()[0] if str(error) else 'nested'}") from error
    if not isinstance(data, dict):
        raise SpecError(f"{file}:1: a job file is a map with the keys name, source, answer and stages")
    return data


def _anchored(spec: JobSpec, folder: Path) -> JobSpec:
    def anchor(path: str) -> str:
        return path if "://" in path else str(folder / path)

    changes: dict[str, Any] = {}
    if spec.source is not None:
        changes["source"] = spec.source.model_copy(update={"path": anchor(spec.source.path)})
    if spec.gold is not None and spec.gold.path is not None:
        changes["gold"] = spec.gold.model_copy(update={"path": anchor(spec.gold.path)})
    if spec.handlers is not None and spec.handlers.endswith(".py"):
        changes["handlers"] = anchor(spec.handlers)
    changes["commands"] = {name: c.model_copy(update={"folder": anchor(c.folder)}) for name, c in spec.commands.items()}
    return spec.model_copy(update=changes)


#: Pydantic's words for the two most common mistakes, put so that the reader knows what to do.
_PLAINER = {"extra_forbidden": "this key is not known", "missing": "this key is missing"}
#: What its pattern allows, by the last key.
_ALLOWED = {
    "name": "a name has letters, digits, _ . and -, begins with a letter or a digit, and is at most 100 long",
    "url": "a URL begins with http:// or https://",
    "api_key_env": "the name of an environment variable has letters, digits and _, and begins with no digit",
}


def _say(file: str, data: object, loc: tuple[int | str, ...], kind: str, message: str) -> str:
    """One validation error as ``file:line: key: what was expected``."""
    line, key = _line(data, loc), ".".join(map(str, loc))
    said = _PLAINER.get(kind, message.removeprefix("Value error, "))
    if kind == "string_pattern_mismatch" and loc:
        said = _ALLOWED.get(str(loc[-1]), said)
    known = ""
    if kind == "extra_forbidden":
        known = f"; known are {', '.join(_known_keys(loc[:-1]))}"
    return f"{file}{f':{line}' if line else ''}: {key + ': ' if key else ''}{said}{known}"


def _line(data: object, loc: Sequence[int | str]) -> int:
    """The line, from 1, of the innermost key of ``loc`` that the data have; 0 for data that were not read from YAML."""
    line, node = data.lc.line + 1 if hasattr(data, "lc") else 0, data
    for part in loc:
        position = getattr(node, "lc", None)
        try:
            if position is not None:
                line = position.item(part)[0] + 1 if isinstance(part, int) else position.key(part)[0] + 1
            node = node[part]  # type: ignore[index]  # whatever cannot be indexed ends the walk
        except (KeyError, IndexError, TypeError):
            break
    return line


def _known_keys(loc: tuple[int | str, ...]) -> list[str]:
    models: dict[str, type[BaseModel]] = {
        "source": Source, "answer": Answer, "gold": Gold, "judges": StageJudge, "stages": Stage,
        "commands": Command, "http": Http, "llm": Llm, "accept": Accept, "rewards": Rewards,
    }  # fmt: skip
    for part in reversed(loc):
        if part in models:
            return [f.alias or name for name, f in models[str(part)].model_fields.items()]
    return list(JobSpec.model_fields)
