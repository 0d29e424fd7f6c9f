"""What the runs come to: medians, ratios, aims, and the table of ``docs/performance.md``."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"

#: Case name -> figure name -> the value of each run.
Runs = Mapping[str, Mapping[str, Sequence[float]]]


@dataclass(frozen=True)
class Aim:
    """What is to be reached: a figure, or its ratio to another's of the same rounds."""

    title: str
    figure: tuple[str, str]
    reach: float
    sense: Literal["at least", "at most"] = "at least"
    over: tuple[str, str] | None = None
    unit: str = ""


#: The ratios are wanted of both ways to run it: three processes, as in production, and the one command, `run`.
AIMS = (
    *(
        Aim(f"suites of 500, {way}, to {rival}", (case, "tasks_per_second"), reach, over=(against, "tasks_per_second"))
        for case, way in (("apart", "three processes"), ("suites", "`manyhands run`"))
        for against, rival, reach in (("plain", "the plain loop", 0.35), ("celery", "Celery", 100))
    ),
    *(
        Aim(
            f"suites of 1, {way}, to Dramatiq",
            (case, "messages_per_second"),
            0.5,
            over=("dramatiq", "messages_per_second"),
        )
        for case, way in (("singles-apart", "three processes"), ("singles", "`manyhands run`"))
    ),
    Aim("one task, sent to answered, median", ("latency", "median_ms"), 20, "at most", unit="ms"),
    Aim("eight workers, 10 ms of sleep a task, to one", ("scaling", "times"), 7.5),
    Aim("broker back to first answer, median", ("recovery", "median_s"), 3, "at most", unit="s"),
    Aim(
        "Dawid-Skene, a million judgments, to crowd-kit's",
        ("truth", "ours_judgments_per_second"),
        10,
        over=("truth", "crowd_kit_judgments_per_second"),
    ),
    Aim("memory of Dawid-Skene, at most", ("truth", "ours_mib_at_most"), 1024, "at most", unit="MiB"),
    Aim("memory of the producer, at most", ("memory", "producer_mib_at_most"), 200, "at most", unit="MiB"),
    Aim("memory of the aggregator, at most", ("memory", "aggregator_mib_at_most"), 200, "at most", unit="MiB"),
)


def medians(runs: Runs) -> dict[str, dict[str, float]]:
    """The median of every figure."""
    return {case: {name: statistics.median(values) for name, values in said.items()} for case, said in runs.items()}


def judged(runs: Runs) -> list[dict[str, Any]]:
    """Every aim that the runs have figures for: what was reached, and whether that is enough. Nothing is rounded."""
    found, middle = [], medians(runs)
    for aim in AIMS:
        if any(figure is not None and figure[0] not in middle for figure in (aim.figure, aim.over)):
            continue
        reached = middle[aim.figure[0]][aim.figure[1]]
        if aim.over is not None:
            reached /= middle[aim.over[0]][aim.over[1]]
        met = reached >= aim.reach if aim.sense == "at least" else reached <= aim.reach
        found.append(
            {"aim": aim.title, "sense": aim.sense, "reach": aim.reach, "unit": aim.unit, "reached": reached, "met": met}
        )
    return found


def table(results: Mapping[str, Any]) -> str:
    """The results as Markdown."""
    machine, versions = results["machine"], results["versions"]
    lines = [
        f"Measured {results['date']} on {machine['cores']} cores of {machine['cpu']}, {machine['memory_mib']:,} MiB, "
        f"{machine['system']}, {machine['python']}, {versions['broker']}; load before: {machine['load_before']}.",
    ]
    if results["aims"]:
        lines += ["", "| aim | to reach | reached | |", "|---|---:|---:|---|"]
    for aim in results["aims"]:
        sign = "≥" if aim["sense"] == "at least" else "≤"
        unit = f" {aim['unit']}" if aim["unit"] else " ×"
        lines.append(
            f"| {aim['aim']} | {sign} {aim['reach']:g}{unit} | {_shown(aim['reached'])}{unit} "
            f"| {'met' if aim['met'] else '**missed**'} |"
        )
    lines += ["", "| case | figure | median | lowest … highest | runs |", "|---|---|---:|---:|---:|"]
    for case, said in results["cases"].items():
        for name, values in said["runs"].items():
            spread = f"{_shown(min(values))} … {_shown(max(values))}" if len(values) > 1 else ""
            middle = _shown(statistics.median(values))
            lines.append(f"| {said['title']} (`{case}`) | {_words(name)} | {middle} | {spread} | {len(values)} |")
    wanted = ("manyhands", "celery", "dramatiq", "pika", "kombu", "msgpack", "zstandard", "SQLAlchemy", "sqlite")
    lines += ["", "Versions: " + ", ".join(f"{name} {versions[name]}" for name in wanted) + "."]
    return "\n".join(lines) + "\n"


def put_into(page: Path, text: str) -> None:
    """Replace what stands between the two marks of a page."""
    head, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    tail = rest.partition(END)[2]
    page.write_text(f"{head}{BEGIN}\n\n{text}\n{END}{tail}", encoding="utf-8")


def _shown(value: float) -> str:
    """Four digits, cut off and not rounded: 0.3499 is not 0.35."""
    if value >= 1000:
        return f"{int(value):,}"
    digits = 1 if value >= 100 else 2 if value >= 10 else 3
    return f"{int(value * 10**digits) / 10**digits:.{digits}f}"


def _words(figure: str) -> str:
    return figure.replace("_per_second", "/s").replace("_per_", "/").replace("_", " ")
