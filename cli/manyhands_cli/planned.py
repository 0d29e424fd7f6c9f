"""A plan on file: what was foretold of a job; and, when it has been run, how right that was."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from manyhands.errors import ManyhandsError
from manyhands.spec import JobSpec
from manyhands_aggregator.hindsight import compare
from manyhands_cli import paths, show
from manyhands_cli.files import write_whole

if TYPE_CHECKING:  # numpy, and what draws tables, take their time to import
    from rich.console import Console

    from manyhands_aggregator.forecast import Forecast
    from manyhands_aggregator.sample import Sample
    from manyhands_cli.source import Source

#: What a plan's file says it is.
FORMAT = "manyhands.plan.v1"


class NoPlan(ManyhandsError):
    """This file is no plan that `manyhands plan -o` wrote."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """What a forecast rests on: where it comes from, in words, and what was assumed."""

    rests_on: str
    assumed: Sequence[str] = field(default_factory=tuple)


def foretold(spec: JobSpec, said: Mapping[str, Any], found: Forecast, sample: Sample, basis: Basis) -> dict[str, Any]:
    """The same with what a forecast says: of a plan that cascades, too, and how right the answers will be; pure."""
    figures = {"judgments": found.judgments, "cost": found.cost, "seconds": found.seconds}
    figures |= {name: one for name in ("accuracy", "confidence") if (one := getattr(found, name)) is not None}
    result = {**said, "judges": [dict(judge) for judge in said["judges"]]}
    if spec.cascades:
        result |= {"judgments": round(found.judgments.expected), "messages": round(found.messages)}
        places = [(stage, judge.judge) for stage, each in enumerate(spec.stages) for judge in each.judges]
        for judge, place in zip(result["judges"], places, strict=True):
            judge["judgments"] = round(found.given.get(place, 0))
    result |= {"seconds": round(found.seconds.expected, 2), "cost": round(found.cost.expected, 6)}
    for judge in result["judges"]:
        judge["seconds_per_task"] = round(sample.seconds.get(judge["judge"], 0.0), 9)
    judges = result.pop("judges")
    result |= {name: round(figures[name].expected, 4) for name in ("accuracy", "confidence") if name in figures}
    if found.pays_for is not None:
        result |= {"budget": spec.budget, "pays_for_tasks": found.pays_for}
    result["between"] = {
        name: [round(one.low, places), round(one.high, places)]
        for name, one in figures.items()
        for places in (0 if name == "judgments" else 4,)
    }
    result["rests_on"], result["assumed"] = basis.rests_on, list(basis.assumed)
    if len(spec.stages) > 1 or spec.cascades:
        result["stages"] = [
            {
                "stage": number, "judges": ", ".join(judge.judge for judge in spec.stages[number].judges),
                **{name: round(value) for name, value in stage._asdict().items()},
            }
            for number, stage in enumerate(found.stages)
        ]  # fmt: skip
    return {**result, "judges": judges}


def without(said: Mapping[str, Any], *figures: str) -> dict[str, Any]:
    """The same but for these figures."""
    found = {key: value for key, value in said.items() if key not in figures}
    if "between" in found:
        found["between"] = {key: value for key, value in found["between"].items() if key not in figures}
    return found


def write(file: Path, spec: JobSpec, said: Mapping[str, Any]) -> None:
    """Keep what was foretold of a job."""
    plan = {"format": FORMAT, "digest": spec.digest, **said}
    write_whole(file, [json.dumps(plan, indent=2, ensure_ascii=False).encode() + b"\n"])


def read(file: Path, spec: JobSpec | None = None) -> dict[str, Any]:
    """What was foretold, of the job ``spec``.

    Raises:
        NoPlan: the file cannot be read, holds something else, or foretells another job.
    """
    try:
        said = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise NoPlan(f"{file} cannot be read ({type(error).__name__})") from error
    if not isinstance(said, dict) or said.get("format") != FORMAT:
        raise NoPlan(f"{file} is not of the format {FORMAT}")
    if spec is not None and said.get("digest") != spec.digest:
        raise NoPlan(f"{file} foretells another job, or what was another job file then; make it anew")
    return said


def fitting(said: dict[str, Any], spec: JobSpec) -> dict[str, Any]:
    """The same plan, if it can be that of such a job: of the same judges, stage by stage.

    Raises:
        NoPlan: it foretells another job.
    """
    judges = [judge.judge for stage in spec.stages for judge in stage.judges]
    if (own := [row["judge"] for row in said.get("judges", ())]) and own != judges:
        raise NoPlan(f"it foretells a job of the judges {', '.join(own)}; those of this one are {', '.join(judges)}")
    return said


def actual(said: Mapping[str, Any], confidences: Iterable[float]) -> dict[str, Any]:
    """The figures of a job that has ended: ``said`` is its progress, ``confidences`` are those of its answers."""
    stated = [*confidences]
    found = {
        "judgments": said["judgments"],
        "cost": said.get("spent", 0.0),
        "seconds": said["seconds"],
        "accuracy": said.get("accuracy"),
        "confidence": sum(stated) / len(stated) if stated else None,
    }
    return {name: value for name, value in found.items() if value is not None}


def of_job(client: Source, job: str, plan: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What was foretold of a job that an aggregator knows, beside what came of it."""
    said = client.call("GET", paths.of_job(job))
    stated: list[float] = []
    if "accuracy" not in said and "accuracy" not in plan:
        lines = b"".join(client.stream(paths.of_job(job, "/answers.jsonl"))).splitlines()
        stated = [one for line in lines if (one := json.loads(line).get("confidence")) is not None]
    return compare(plan, actual(said, stated))


def show_on(rows: Iterable[Mapping[str, Any]], console: Console | None = None) -> None:
    """A table of what was planned and what came, the difference in per cent of the planned."""
    rows = [{**row, "difference": _percent(row["difference"])} for row in rows]
    show.table(rows, ("figure", "planned", "low", "high", "actual", "difference"), console)


def _percent(difference: float | None) -> str | None:
    return None if difference is None else f"{difference:+.1f} %"
