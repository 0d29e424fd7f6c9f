"""What a run leaves in its output folder."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from manyhands.spec import JobSpec
from manyhands_aggregator import export, record, rewards
from manyhands_aggregator.hindsight import compare
from manyhands_cli import planned
from manyhands_cli.balance import balance
from manyhands_cli.files import write_whole
from manyhands_cli.installation import Installation

#: What the summary takes from the aggregator's progress; those below where there is such a thing.
KEYS = ("job", "name", "state", "tasks", "answered", "failed", "cancelled", "judgments")
SOMETIMES = ("accuracy", "gold", "reason", "spent")


def write(
    installation: Installation,
    spec: JobSpec,
    job: str,
    folder: Path,
    began: float | None,
    plan: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write answers.csv, failed.csv where tasks failed, and summary.json; returns the summary.

    With what was foretold in a ``plan`` the summary says how right that was.

    ``began`` is when it was submitted, in seconds since 1970; None for one that goes on, which counts from its opening,
    the break included.
    """
    aggregator = installation.aggregator
    write_whole(folder / "answers.csv", export.csv_blocks(aggregator.answers(job)))
    written = time.time()
    said = aggregator.progress(job)
    seconds = max(written - (began or said["opened"]), 1e-6)
    failed = folder / "failed.csv"
    if said["failed"] or said["cancelled"]:
        write_whole(failed, export.failed_blocks(aggregator.answers(job)))
    else:
        failed.unlink(missing_ok=True)
    account = balance(installation.producer.audit(job), aggregator.audit(job))
    summary: dict[str, Any] = {key: said[key] for key in KEYS}
    summary |= {
        "seconds": round(seconds, 3),
        "tasks_per_second": round(said["tasks"] / seconds, 1),
        "conserved": account["conserved"],
        "method": spec.decide_by,
        "broker": installation.broker.version,
    }
    summary |= {key: said[key] for key in SOMETIMES if key in said}
    if (agreement := aggregator.agreement(job)) is not None and agreement["alpha"] is not None:
        summary["alpha"] = agreement["alpha"]
    if (economy := aggregator.economy(job)) is not None:
        if economy["saved"] is not None:
            summary["saved"] = _saved(economy)
        summary["stages"] = economy["stages"]
    if spec.rewards is not None:
        lines = (orjson.loads(line) for block in record.judgments(aggregator.store, job) for line in block.splitlines())
        by_price = math.fsum(line.get("cost", 0.0) for line in lines if "error" not in line)
        summary["cost"] = rewards.costs(by_price, aggregator.rewards(job)["earned"])
    if plan is not None:
        stated = (one for block in aggregator.answers(job) for one in block.confidences if one is not None)
        summary["planned"] = compare(plan, planned.actual({**said, "seconds": seconds}, stated))
    summary["judges"] = aggregator.judges(job)
    write_whole(folder / "summary.json", [json.dumps(summary, indent=2).encode() + b"\n"])
    return summary


def _saved(economy: Mapping[str, Any]) -> str:
    """What a cascade saved against asking every judge of every task; it may ask some more often than that."""
    asked, of = economy["asked"], economy["of"]
    if asked > of:
        return f"asked {asked:,} judgments, {asked - of:,} more than every judge of every task"
    return f"asked {asked:,} of {of:,} judgments: saved {economy['saved']:.0%}"
