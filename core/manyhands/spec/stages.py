"""The plan of a job: its stages, their judges, and when a stage is content with an answer."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field, field_validator, model_validator

from manyhands.spec.base import Model
from manyhands.topology import JUDGE_NAME

#: The judge that stands for people: each of its judgments comes from another person.
PEOPLE = "people"
#: The most judgments of a task in one stage.
MOST = 100


class StageJudge(Model):
    """A judge of a stage: how many judgments of each task it gives, and the weight of its vote."""

    judge: str
    judgments: int = Field(default=1, ge=1, le=MOST)
    weight: float = Field(default=1.0, gt=0, description="For the method weighted.")
    price: float = Field(
        default=0.0,
        ge=0,
        description="What one judgment costs; `manyhands plan` adds it up.",
    )

    @field_validator("judge")
    @classmethod
    def _name(cls, value: str) -> str:
        if not JUDGE_NAME.fullmatch(value):
            raise ValueError("a judge's name may have small letters, digits, - and _")
        return value


def _stage_judge(value: object) -> object:
    """``svm`` and ``{svm: 3}`` are short for ``{judge: svm, judgments: 3}``."""
    if isinstance(value, str):
        return {"judge": value}
    if isinstance(value, dict) and len(value) == 1 and "judge" not in value:
        ((name, judgments),) = value.items()
        return {"judge": name, "judgments": judgments}
    return value


class Accept(Model):
    """When a stage accepts the answer of a task; of what is given, all must hold."""

    confidence: float | None = Field(
        default=None, gt=0, le=1, description="The least probability that the answer is right, given all judgments."
    )
    margin: int | None = Field(
        default=None, ge=1, le=MOST, description="How many more voters say it than say the next."
    )
    agree: int | None = Field(default=None, ge=1, le=MOST, description="How many voters say it.")
    at_most: int | None = Field(
        default=None,
        ge=1,
        le=MOST,
        description="Judgments of the stage, at most: up to so many are asked for one by one until the answer is "
        "accepted. As many as its judges give when it is left out.",
    )

    @model_validator(mode="after")
    def _holds(self) -> Accept:
        if self.confidence is None and self.margin is None and self.agree is None:
            raise ValueError("say when: confidence, margin or agree")
        for name, votes in (("agree", self.agree), ("margin", self.margin)):
            if votes is not None and self.at_most is not None and votes > self.at_most:
                raise ValueError(f"{name} can never be reached with at_most {self.at_most}")
        return self


class Stage(Model):
    """One step of the plan: each of its judges judges every task that comes to it."""

    judges: list[
        Annotated[
            StageJudge,
            BeforeValidator(
                _stage_judge, json_schema_input_type=str | Annotated[dict[str, int], Field(max_length=1)] | StageJudge
            ),
        ]
    ] = Field(min_length=1)
    accept: Accept | None = Field(
        default=None, description="When an answer is accepted; a task whose answer is not goes on to the next stage."
    )

    @field_validator("judges")
    @classmethod
    def _once(cls, value: list[StageJudge]) -> list[StageJudge]:
        if len({j.judge for j in value}) != len(value):
            raise ValueError("a judge stands once in a stage; {name: 3} asks it for three judgments")
        return value

    @model_validator(mode="after")
    def _enough(self) -> Stage:
        if self.accept is not None and self.accept.at_most is not None and self.accept.at_most < self.judgments:
            raise ValueError(
                f"accept.at_most is {self.accept.at_most}, and its judges give {self.judgments} judgments at once"
            )
        return self

    @property
    def judgments(self) -> int:
        """Judgments of each task that are asked for at once."""
        return sum(judge.judgments for judge in self.judges)


def check(stages: list[Stage]) -> None:
    """See that every stage has its place in the plan.

    Raises:
        ValueError: one never passes a task on although others come behind it, or it has a rule that changes nothing.
    """
    for number, stage in enumerate(stages[:-1]):
        if stage.accept is None:
            raise ValueError(f"stage {number} needs accept: without it no task ends before stage {number + 1}")
    last = stages[-1].accept
    if last is not None and last.at_most is None:
        raise ValueError("accept of the last stage needs at_most: behind it nothing else is asked")
