"""What a job does about the quality of who judges for it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from manyhands.spec.base import Model

SURE = Field(default=0.95, gt=0.5, lt=1, description="How probable it must be that the share is what is said of it.")


class Qualify(Model):
    """When a worker is known to be good."""

    accuracy: float = Field(gt=0, lt=1, description="The least share of right judgments.")
    sure: float = SURE


class Bounds(Model):
    """When something is done about a worker: if any of what is given holds."""

    accuracy: float | None = Field(default=None, gt=0, lt=1, description="The share of right judgments is below this.")
    loss: float | None = Field(
        default=None, gt=0, lt=1, description="From the first judgment to the last this share has been lost."
    )
    sure: float = SURE
    spam: float | None = Field(
        default=None, gt=0, lt=1, description="It is at least so probable that the worker does not look at its tasks."
    )
    repeats: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="It is at most so probable that one who looks repeats itself so often.",
    )
    copying: bool = Field(
        default=False,
        description="The worker copies another (of 20 so called, 19 do); for warn, also: which of two, nobody knows.",
    )

    @model_validator(mode="after")
    def _something(self) -> Bounds:
        if not self.copying and (self.accuracy, self.loss, self.spam, self.repeats) == (None, None, None, None):
            raise ValueError("give at least one of accuracy, loss, spam, repeats and copying")
        return self


class Quality(Model):
    """Rules for workers, machines and people alike; of those that hold, the gravest one acts. False: no such rule."""

    reputation: float | None = Field(
        default=None,
        gt=0,
        description="What a worker has shown in jobs that ended before this one was opened counts as evidence of its "
        "accuracy, like so many judgments at most. Without this it does not count.",
    )
    qualify: Qualify | None = Field(default=None, description="When a worker is known to be good.")
    warn: Bounds | Literal[False] = Field(
        default=Bounds(spam=0.3, copying=True, loss=0.1, repeats=0.001), description="When the requester is told."
    )
    pause: Bounds | Literal[False] = Field(
        default=Bounds(spam=0.6, copying=True),
        description="When a worker is given nothing, and its judgments do not count, for the time being.",
    )
    retire: Bounds | Literal[False] = Field(
        default=Bounds(spam=0.95), description="The same for good; open tasks that rest on it are judged anew."
    )
