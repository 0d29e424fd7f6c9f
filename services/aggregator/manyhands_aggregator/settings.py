"""Settings of the aggregator."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from pydantic import Field

from manyhands.settings import ApiSettings


class AggregatorSettings(ApiSettings):
    """What the aggregator is told, on top of what every process with a store is told."""

    port: int = Field(default=8103, ge=0, le=65535, description="Port of health, metrics and API; 0 takes a free one.")
    batch: int = Field(default=100, ge=1, le=1000, description="Messages in one transaction, at most.")
    hold: float = Field(
        default=60.0,
        ge=0,
        description="Seconds that judgments of an unknown job or suite wait for news of it before they are set aside.",
    )
    dead_keep: float = Field(
        default=90.0,
        ge=0,
        description="Days that a dead letter is kept on file; its tasks stay failed after it. 0 is for ever.",
    )

    @property
    def own_user(self) -> str | None:
        """The broker's user in the broker's URL, where it matters who sends what."""
        user = urlsplit(self.broker.get_secret_value()).username if self.worker_user else None
        return unquote(user) if user else None
