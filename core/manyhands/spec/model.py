"""The job file's keys: what they are for, what they may be, and what they are when they are not given."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from manyhands import jsonschemas
from manyhands.topology import JUDGE_NAME

Method = Literal["majority", "weighted", "mean", "median", "first"]


#: The context of a job that was taken before, perhaps by another version.
RECEIVED = "received"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _word(value: object) -> object:
    """Options may be written without quotes: 0 and 1 mean "0" and "1"."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Option = Annotated[str, BeforeValidator(_word, json_schema_input_type=str | int)]


class Source(_Model):
    """Where the items come from."""

    path: str = Field(description="A file or folder, relative to the job file, or any fsspec URL.")
    format: Literal["csv", "jsonl", "parquet", "folder"] | None = Field(
        default=None, description="Taken from the path's ending when not given."
    )
    id: str | None = Field(default=None, description="The column with the item's own id; else the position is the id.")
    input: str | list[str] | None = Field(
        default=None,
        description="The column that judges see, or a list of columns (they get a map). "
        "All columns but the id and the gold column when not given.",
    )
    pattern: str = Field(default="*", description="For a folder: which files, as a glob; ** goes into subfolders.")
    payload: Literal["bytes", "reference"] = Field(
        default="bytes", description="For a folder: files travel as bytes, or as {url, sha256, size}."
    )
    on_bad_row: Literal["stop", "set-aside"] = Field(
        default="stop", description="What a row that cannot be read does: end the job, or count as failed."
    )


class Answer(_Model):
    """What an answer may be."""

    type: Literal["choice", "choices", "number", "text", "json"]
    options: list[Option] | None = Field(default=None, description="For choice and choices: what may be chosen.")
    min: float | None = Field(default=None, description="For number: the least value.")
    max: float | None = Field(default=None, description="For number: the greatest value.")
    max_length: int | None = Field(default=None, ge=1, description="For text: the most characters.")
    json_schema: dict[str, Any] | None = Field(
        default=None, alias="schema", description="For json: a JSON Schema (2020-12)."
    )

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    @model_validator(mode="after")
    def _fits_type(self, info: ValidationInfo) -> Answer:
        if (self.type in ("choice", "choices")) != (self.options is not None):
            raise ValueError("options belong to the types choice and choices, which need them")
        if self.options is not None and (len(set(self.options)) != len(self.options) or not self.options):
            raise ValueError("options must differ from one another, and there must be at least one")
        if self.type != "number" and (self.min is not None or self.max is not None):
            raise ValueError("min and max belong to the type number")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("min must not be greater than max")
        if self.type != "text" and self.max_length is not None:
            raise ValueError("max_length belongs to the type text")
        if self.type != "json" and self.json_schema is not None:
            raise ValueError("schema belongs to the type json")
        if self.json_schema is not None and info.context != RECEIVED:
            jsonschemas.check(self.json_schema)
        return self


class StageJudge(_Model):
    """A judge of a stage: how many judgments of each task it gives, and the weight of its vote."""

    judge: str
    judgments: int = Field(default=1, ge=1, le=100)
    weight: float = Field(default=1.0, gt=0, description="For the method weighted.")
    price: float = Field(default=0.0, ge=0, description="What one judgment costs; `manyhands plan` adds it up.")

    @field_validator("judge")
    @classmethod
    def _name(cls, value: str) -> str:
        if not JUDGE_NAME.fullmatch(value):
            raise ValueError("a judge's name may have small letters, digits, - and _")
        if value == "people":
            raise ValueError("this version has machine judges only; people come with the desk")
        return value


def _stage_judge(value: object) -> object:
    """``svm`` and ``{svm: 3}`` are short for ``{judge: svm, judgments: 3}``."""
    if isinstance(value, str):
        return {"judge": value}
    if isinstance(value, dict) and len(value) == 1 and "judge" not in value:
        ((name, judgments),) = value.items()
        return {"judge": name, "judgments": judgments}
    return value


class Stage(_Model):
    """One step of the plan: every one of its judges judges every task."""

    judges: list[
        Annotated[
            StageJudge,
            BeforeValidator(
                _stage_judge, json_schema_input_type=str | Annotated[dict[str, int], Field(max_length=1)] | StageJudge
            ),
        ]
    ] = Field(min_length=1)

    @field_validator("judges")
    @classmethod
    def _once(cls, value: list[StageJudge]) -> list[StageJudge]:
        if len({j.judge for j in value}) != len(value):
            raise ValueError("a judge stands once in a stage; {name: 3} asks it for three judgments")
        return value


class Gold(_Model):
    """Tasks whose truth is known; judges never see it. Accuracy is measured on them."""

    path: str | None = Field(default=None, description="A CSV or JSON Lines file with the columns id and answer.")
    column: str | None = Field(default=None, description="The column of the source that holds the truth.")

    @model_validator(mode="after")
    def _one(self) -> Gold:
        if (self.path is None) == (self.column is None):
            raise ValueError("give either path or column")
        return self


class Command(_Model):
    """A judge that is a program: JSON lines in, JSON lines out, started once a child process."""

    command: list[str] = Field(min_length=1, description="The program and its arguments.")
    folder: str = Field(default=".", description="Where it runs, relative to the file that names it.")
    version: str = "1"
    time_limit: float | None = Field(default=None, gt=0, description="Seconds for one suite.")


class Http(_Model):
    """A judge behind a URL: a batch is POSTed as JSON, the judgments come back."""

    url: str = Field(pattern=r"^https?://")
    version: str = "1"
    time_limit: float = Field(default=60, gt=0, description="Seconds for one request.")
    headers: dict[str, str] = Field(
        default_factory=dict, description="Sent along; ${NAME} is taken from the environment."
    )


class JobSpec(_Model):
    """A job file."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$", description="Letters, digits, _ . and -.")
    source: Source | None = Field(default=None, description="Left out when the tasks are pushed over the API.")
    question: str = Field(default="", description="What judges are asked.")
    answer: Answer
    method: Method | None = Field(
        default=None,
        description="How judgments become an answer. Default: majority; for number: mean.",
    )
    stages: list[Stage] = Field(min_length=1, max_length=1, description="The plan. This version runs one stage.")
    gold: Gold | None = None
    suite: int = Field(default=100, ge=1, le=10_000, description="Tasks that travel together.")
    in_flight: int = Field(default=128, ge=1, le=10_000, description="Suites on their way at once; others wait.")
    max_attempts: int = Field(default=3, ge=1, le=10, description="Tries of one judgment before it counts as failed.")
    deadline: float | None = Field(default=None, gt=0, description="Seconds after which the job ends as it is.")
    handlers: str | None = Field(default=None, description="Module or .py file with the handlers; for `run`.")
    commands: dict[str, Command] = Field(default_factory=dict, description="Judges that are programs; for `run`.")
    http: dict[str, Http] = Field(default_factory=dict, description="Judges behind a URL; for `run`.")

    @field_validator("stages", mode="before")
    @classmethod
    def _one_stage(cls, value: object) -> object:
        if isinstance(value, list) and len(value) > 1:
            raise ValueError("this version runs one stage; put all judges into it")
        return value

    @model_validator(mode="after")
    def _method_fits(self) -> JobSpec:
        if self.method in ("mean", "median") and self.answer.type != "number":
            raise ValueError(f"method {self.method} needs answers of type number")
        if self.method == "weighted" and self.answer.type == "number":
            raise ValueError("method weighted is a vote; numbers take mean or median")
        if self.gold is not None and self.gold.column is not None and self.source is None:
            raise ValueError("gold.column needs a source; pushed tasks carry their truth themselves")
        return self

    @property
    def judges(self) -> list[StageJudge]:
        """The judges of the one stage."""
        return self.stages[0].judges

    @property
    def decide_by(self) -> Method:
        """The method, with its default filled in."""
        return self.method or ("mean" if self.answer.type == "number" else "majority")

    def plain(self) -> dict[str, Any]:
        """The job file as a map of plain values, as it travels and is stored."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

    @property
    def digest(self) -> str:
        """A short fingerprint of everything the job file says."""
        return hashlib.sha256(json.dumps(self.plain(), sort_keys=True).encode()).hexdigest()[:16]


def json_schema() -> dict[str, Any]:
    """The JSON Schema of the job file, for editors."""
    return JobSpec.model_json_schema(by_alias=True)
