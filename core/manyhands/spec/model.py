"""The job file's keys: what they are for, what they may be, and what they are when they are not given."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pydantic import Field, field_validator, model_validator

from manyhands.spec.answer import Answer
from manyhands.spec.base import Model
from manyhands.spec.configured import Command, Http
from manyhands.spec.llm import Llm
from manyhands.spec.methods import INFERENCE, OF_NUMBERS, STRONGEST, Method
from manyhands.spec.quality import Quality
from manyhands.spec.rewards import Rewards
from manyhands.spec.source import Gold, Source
from manyhands.spec.stages import PEOPLE, Stage, StageJudge, check

#: Money is counted in whole millionths, so that a sum is the same in whatever order it is made.
MILLION = 1_000_000


class JobSpec(Model):
    """A job file."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$", description="Letters, digits, _ . and -.")
    source: Source | None = Field(default=None, description="Left out when the tasks are pushed over the API.")
    question: str = Field(default="", description="What judges are asked.")
    answer: Answer
    method: Method | None = Field(
        default=None,
        description="How judgments become an answer. Default: majority; for number: mean; for choice where a stage has "
        "accept: the strongest method of inference.",
    )
    stages: list[Stage] = Field(
        min_length=1,
        max_length=20,
        description="The plan: all tasks go to the first stage, and on to the next where it does not accept an answer.",
    )
    budget: float | None = Field(
        default=None, gt=0, description="What all judgments together may cost, in the unit of the judges' prices."
    )
    gold: Gold | None = None
    quality: Quality | None = Field(
        default=None, description="What is done about workers. Without it they are measured only."
    )
    rewards: Rewards | None = Field(default=None, description="What people are paid for their judgments.")
    suite: int = Field(default=100, ge=1, le=10_000, description="Tasks that travel together.")
    in_flight: int = Field(default=128, ge=1, le=10_000, description="Suites on their way at once; others wait.")
    max_attempts: int = Field(default=3, ge=1, le=10, description="Tries of one judgment before it counts as failed.")
    deadline: float | None = Field(default=None, gt=0, description="Seconds after which the job ends as it is.")
    handlers: str | None = Field(default=None, description="Module or .py file with the handlers; for `run`.")
    commands: dict[str, Command] = Field(default_factory=dict, description="Judges that are programs; for `run`.")
    http: dict[str, Http] = Field(default_factory=dict, description="Judges behind a URL; for `run`.")
    # None and not an empty map: what a job file does not say must not reach versions that do not know the key
    llm: dict[str, Llm] | None = Field(default=None, description="Judges that are language models; for `run`.")

    @field_validator("stages")
    @classmethod
    def _in_their_places(cls, value: list[Stage]) -> list[Stage]:
        check(value)
        return value

    @model_validator(mode="after")
    def _method_fits(self) -> JobSpec:
        if self.method in ("mean", "median", *OF_NUMBERS) and self.answer.type != "number":
            raise ValueError(f"method {self.method} needs answers of type number")
        if self.method == "weighted" and self.answer.type == "number":
            raise ValueError("method weighted is a vote; numbers take mean or median")
        if self.method in ("normalised", "rover") and self.answer.type != "text":
            raise ValueError(f"method {self.method} needs answers of type text")
        if self.method in INFERENCE and self.answer.type not in ("choice", "choices", "number"):
            raise ValueError(f"method {self.method} needs answers of type choice or choices")
        if self.method in INFERENCE and self.method not in OF_NUMBERS and self.answer.type == "number":
            raise ValueError(f"method {self.method} is for choices; numbers take {' or '.join(OF_NUMBERS)}")
        named = self.gold is not None or self.source is None  # pushed tasks carry their truths themselves
        if self.rewards is not None and not named and (self.rewards.gold or self.rewards.penalty):
            raise ValueError("rewards for gold and penalties need gold")
        if self.gold is not None and self.gold.column is not None and self.source is None:
            raise ValueError("gold.column needs a source; pushed tasks carry their truth themselves")
        if self.gold is not None and self.gold.share is not None and self.source is None:
            raise ValueError(
                "gold.share needs a source to be mixed into; pushed tasks say themselves that they are gold"
            )
        return self

    @property
    def judges(self) -> list[StageJudge]:
        """The judges of all stages, in the order of the plan; the same judge may stand in several."""
        return [judge for stage in self.stages for judge in stage.judges]

    @property
    def judge_names(self) -> list[str]:
        """Every judge of the plan once, in the order of the plan."""
        return list(dict.fromkeys(judge.judge for judge in self.judges))

    @property
    def affordable(self) -> int | None:
        """How many tasks can be paid for at the first stage, people at the most they may earn; None: without limit."""
        reward = 0 if self.rewards is None else round(self.rewards.most * MILLION)
        price = sum(
            (round(judge.price * MILLION) + (reward if judge.judge == PEOPLE else 0)) * judge.judgments
            for judge in self.stages[0].judges
        )
        caps = [self.budget, None if self.rewards is None else self.rewards.per_job]
        most = min((round(cap * MILLION) for cap in caps if cap is not None), default=None)
        return None if most is None or not price else most // price

    @property
    def cascades(self) -> bool:
        """Whether anything may be asked after the first judgments of a task: more stages, or rules that want more."""
        return len(self.stages) > 1 or self.stages[0].accept is not None or self.quality is not None

    @property
    def decide_by(self) -> Method:
        """The method, with its default filled in."""
        if self.method is None and self.cascades and self.answer.type == "choice":
            return STRONGEST
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
