"""The job file: its schema, its defaults, and errors that name file, line and key."""

from __future__ import annotations

from manyhands.spec.answer import Answer, Option
from manyhands.spec.configured import Command, Http
from manyhands.spec.llm import Llm
from manyhands.spec.methods import INFERENCE, STRONGEST, Method
from manyhands.spec.model import JobSpec, json_schema
from manyhands.spec.quality import Quality
from manyhands.spec.reading import load, parse, received, where
from manyhands.spec.rewards import Rewards
from manyhands.spec.source import Gold, Source
from manyhands.spec.stages import PEOPLE, Accept, Stage, StageJudge

__all__ = [
    "INFERENCE",
    "PEOPLE",
    "STRONGEST",
    "Accept",
    "Answer",
    "Command",
    "Gold",
    "Http",
    "JobSpec",
    "Llm",
    "Method",
    "Option",
    "Quality",
    "Rewards",
    "Source",
    "Stage",
    "StageJudge",
    "json_schema",
    "load",
    "parse",
    "received",
    "where",
]
