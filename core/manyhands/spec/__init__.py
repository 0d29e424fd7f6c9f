"""The job file: its schema, its defaults, and errors that name file, line and key."""

from __future__ import annotations

from manyhands.spec.model import (
    Answer,
    Command,
    Gold,
    Http,
    JobSpec,
    Method,
    Option,
    Source,
    Stage,
    StageJudge,
    json_schema,
)
from manyhands.spec.reading import load, parse, received, where

__all__ = [
    "Answer",
    "Command",
    "Gold",
    "Http",
    "JobSpec",
    "Method",
    "Option",
    "Source",
    "Stage",
    "StageJudge",
    "json_schema",
    "load",
    "parse",
    "received",
    "where",
]
