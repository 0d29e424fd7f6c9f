"""What a worker is told: which judges it serves, in how many children, and when to give up on a task."""

from __future__ import annotations

import os
import secrets
import socket
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode

from manyhands.messages import WORKER_ID
from manyhands.settings import Settings


def _parts(value: object) -> object:
    """``a, b`` is short for ``["a", "b"]``."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


#: A list that stands in one variable, parted by commas; NoDecode keeps pydantic from reading it as JSON.
Listed = Annotated[list[str], NoDecode, BeforeValidator(_parts)]


def _cpus() -> int:
    # what a container may use, where the system tells; cpu_count() is the whole machine
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _own_name() -> str:
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}"


class WorkerSettings(Settings):
    """Settings of ``manyhands worker``."""

    judges: Listed = Field(
        default=[], description="Judges to serve, parted by commas; all that the handlers offer when empty."
    )
    handlers: Listed = Field(
        default=[],
        description="Modules or .py files with handlers, parted by commas; in the place of the file's key handlers.",
    )
    config: Path | None = Field(
        default=None,
        description="YAML file with the keys handlers, commands, http and llm (with question and answer) as in a job "
        "file; a job file itself will do.",
    )
    children: int = Field(
        default_factory=_cpus, ge=1, le=256, description="Child processes that judge; one for each CPU when unset."
    )
    prefetch: int = Field(
        default=0, ge=0, le=10_000, description="Suites held of each queue; 0 chooses by what they cost to judge."
    )
    hard_limit: float = Field(
        default=600.0, gt=0, description="Seconds that one suite may take; after them its child is killed."
    )
    recycle_suites: int = Field(default=0, ge=0, description="Suites after which a child is replaced; 0 is never.")
    recycle_mib: int = Field(default=0, ge=0, description="MiB of memory past which a child is replaced; 0 is never.")
    deletion_cost: bool = Field(
        default=False,
        description="In Kubernetes, annotate this worker's pod with its deliveries in hand, so that a scale-down takes "
        "the idle ones; needs POD_NAME, POD_NAMESPACE and a token that may patch the pod.",
    )
    worker_id: str = Field(
        default_factory=_own_name,
        pattern=f"^{WORKER_ID.pattern}$",
        description="Name in the judgments, of at most 200 characters; made up when unset.",
    )
