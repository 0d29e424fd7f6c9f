"""Paths of the APIs."""

from __future__ import annotations

from manyhands.errors import UnknownJob
from manyhands.messages import JOB_ID


def of_job(name: str, rest: str = "") -> str:
    """The path of a job, or of something of it.

    Raises:
        UnknownJob: there can be no job of this name, which would lead to another path.
    """
    if not JOB_ID.fullmatch(name):
        raise UnknownJob(f"{name!r}; `manyhands status` lists the jobs")
    return f"/api/jobs/{name}{rest}"
