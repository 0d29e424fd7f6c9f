"""What all parts of the job file have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

#: The context of a job that was taken before, perhaps by another version.
RECEIVED = "received"


class Model(BaseModel):
    """A map of the job file: it has these keys and no others, and never changes."""

    model_config = ConfigDict(extra="forbid", frozen=True)
