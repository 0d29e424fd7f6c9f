"""Judges that are configured and not coded."""

from __future__ import annotations

from pydantic import Field

from manyhands.spec.base import Model


class Command(Model):
    """A judge that is a program: JSON lines in, JSON lines out, started once a child process."""

    command: list[str] = Field(min_length=1, description="The program and its arguments.")
    folder: str = Field(default=".", description="Where it runs, relative to the file that names it.")
    version: str = "1"
    time_limit: float | None = Field(default=None, gt=0, description="Seconds for one suite.")


class Http(Model):
    """A judge behind a URL: a batch is POSTed as JSON, the judgments come back."""

    url: str = Field(pattern=r"^https?://")
    version: str = "1"
    time_limit: float = Field(default=60, gt=0, description="Seconds for one request.")
    headers: dict[str, str] = Field(
        default_factory=dict, description="Sent along; ${NAME} is taken from the environment."
    )
