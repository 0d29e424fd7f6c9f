"""Where the judges come from: files of handlers, programs, URLs and models; named by settings or by a job file."""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError

from manyhands.errors import SettingsError
from manyhands.spec import Answer, Command, Http, Llm
from manyhands_worker.frames import Setup
from manyhands_worker.settings import WorkerSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A language model, what it is asked, and what it may answer."""

    llm: Llm
    question: str
    answer: Answer

    def plain(self) -> dict[str, Any]:
        """As a child is told."""
        answer = self.answer.model_dump()
        version = self.llm.version_for(self.question, answer)
        return {"llm": self.llm.model_dump(), "question": self.question, "answer": answer, "version": version}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """References to handlers (module or .py file), and programs, URLs and models by judge."""

    handlers: Sequence[str] = ()
    commands: Mapping[str, Command] = field(default_factory=dict)
    http: Mapping[str, Http] = field(default_factory=dict)
    llm: Mapping[str, Asked] = field(default_factory=dict)


class _Config(BaseModel):
    """The keys of a worker's file; a job file has them among its own."""

    model_config = ConfigDict(extra="ignore")

    handlers: str | None = None
    commands: dict[str, Command] = Field(default_factory=dict)
    http: dict[str, Http] = Field(default_factory=dict)
    llm: dict[str, Llm] = Field(default_factory=dict)
    question: str = ""
    answer: Answer | None = None


def read(path: Path) -> Sources:
    """The sources that a file names.

    Raises:
        SettingsError: it cannot be read or says something else; the text names file and key.
    """
    try:
        data: Any = YAML(typ="safe").load(io.StringIO(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from error
    except MarkedYAMLError as error:
        raise SettingsError(f"{path} is no YAML: {error.problem}") from error
    if not isinstance(data, dict):
        raise SettingsError(f"{path} has none of the keys handlers, commands, http and llm")
    try:
        config = _Config.model_validate(data)
    except ValidationError as error:
        said = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise SettingsError(f"{path}: {'; '.join(said)}") from error
    folder = path.resolve().parent
    handlers = config.handlers
    if handlers is not None and handlers.endswith(".py"):
        handlers = str(folder / handlers)
    commands = {n: c.model_copy(update={"folder": str(folder / c.folder)}) for n, c in config.commands.items()}
    asked: dict[str, Asked] = {}
    if config.llm:
        if config.answer is None:
            raise SettingsError(f"{path}: answer: a judge of llm needs this key, as in a job file: what it may answer")
        asked = {n: Asked(llm=m, question=config.question, answer=config.answer) for n, m in config.llm.items()}
    return Sources(handlers=[handlers] if handlers else [], commands=commands, http=config.http, llm=asked)


def named_by(settings: WorkerSettings) -> Sources:
    """The sources that settings name: those of the file, with the settings' handlers in the place of the file's.

    Raises:
        SettingsError: the file is not right.
    """
    given = Sources() if settings.config is None else read(settings.config)
    return replace(given, handlers=settings.handlers) if settings.handlers else given


def setup_of(sources: Sources, settings: WorkerSettings, host: str) -> Setup:
    """What a child of a worker with these settings is told."""
    return Setup(
        references=sources.handlers,
        commands={name: command.model_dump() for name, command in sources.commands.items()},
        http={name: http.model_dump() for name, http in sources.http.items()},
        llm={name: asked.plain() for name, asked in sources.llm.items()}, judges=settings.judges, path=sys.path,
        namespace=settings.namespace, partitions=settings.partitions, worker=settings.worker_id, host=host,
        body_limit=settings.body_limit, hard_limit=settings.hard_limit, children=settings.children,
    )  # fmt: skip


def joined(one: Sources, other: Sources) -> Sources:
    """Both together; a judge that both name is the second's."""
    return Sources(
        handlers=list(dict.fromkeys([*one.handlers, *other.handlers])),
        commands={**one.commands, **other.commands},
        http={**one.http, **other.http},
        llm={**one.llm, **other.llm},
    )
