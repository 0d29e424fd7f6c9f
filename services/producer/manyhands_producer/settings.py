"""Settings of the producer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from manyhands.settings import ApiSettings


class ProducerSettings(ApiSettings):
    """What the producer is told, on top of what every process with a store is told."""

    port: int = Field(default=8101, ge=0, le=65535, description="Port of health, metrics and API; 0 takes a free one.")
    source_roots: Annotated[tuple[str, ...], NoDecode] = Field(
        default_factory=lambda: (str(Path.cwd()),),  # the folder the producer was started in
        description="Folders and URL prefixes, with commas between, that jobs sent to the API may read from.",
    )
    window: int = Field(default=1000, ge=1, description="Messages published and not yet confirmed, at most.")
    spool_bytes: int = Field(
        default=1 << 30,
        ge=1 << 20,
        description="Bytes of pushed tasks that one job may have waiting; more are refused meanwhile.",
    )

    republish_after: float = Field(
        default=3600.0,
        ge=0,
        description="Seconds after which a job that stands still, while all its queues are empty, is published again; "
        "0 leaves that to `manyhands republish`.",
    )

    @field_validator("source_roots", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(root.strip() for root in value.split(",") if root.strip())
        return value
