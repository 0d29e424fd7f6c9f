"""What a bundle holds beside what comes from the store: the figures of the job, its method, and the report."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson

from manyhands.spec import INFERENCE, JobSpec
from manyhands_aggregator.bundle.figures import Figures
from manyhands_aggregator.bundle.files import (
    FILES,
    FORMAT,
    JOB,
    MANIFEST,
    OWN,
    RATINGS,
    REPORT,
    WORKERS,
    Bundle,
    digest,
    own_digest,
    pretty,
)
from manyhands_aggregator.bundle.reading import fitting_together, span, suites
from manyhands_aggregator.hindsight import compare
from manyhands_aggregator.report.page import page
from manyhands_aggregator.rewards import costs
from manyhands_aggregator.truth import methods, numbers


def complete(folder: Path, facts: Mapping[str, Any], plan: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Add what is made of tasks, judgments and answers, which are in the folder, and the manifest; returns that.

    ``facts`` is what the aggregator says of the job, ``plan`` what was foretold of it, where that is on file.

    Raises:
        NoBundle: the files do not fit together.
    """
    said = dict(facts)
    earned = said.pop("earned", None)
    job_file = said.pop("job_file")
    (folder / JOB).write_bytes(pretty(job_file))
    spec = Bundle(folder, {}).spec()
    figures = Figures(spec, facts, span(folder) if spec.answer.type == "number" else None)
    with fitting_together(folder):
        for suite in suites(folder):
            figures.add(suite)
    (folder / WORKERS).write_bytes(b"".join(figures.voters.csv()))
    rows = (orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in figures.ratings)
    (folder / RATINGS).write_bytes(b"".join(rows))
    manifest = {"format": FORMAT, **said, **method(spec), "job_file": {"digest": fingerprint(job_file)}}
    if earned is not None:
        manifest["cost"] = costs(figures.cost, earned)
    if plan is not None:
        stated = {"cost": figures.paid, "accuracy": figures.accuracy.share, "confidence": figures.confidence.mean}
        manifest["planned"] = compare(plan, {**said, **stated})
    manifest["files"] = {name: _file(folder / name) for name in FILES if name != REPORT}
    (folder / REPORT).write_bytes(page(figures, manifest))
    manifest["files"][REPORT] = _file(folder / REPORT)
    manifest[OWN] = own_digest(manifest)
    (folder / MANIFEST).write_bytes(pretty(manifest))
    return manifest


def method(spec: JobSpec) -> dict[str, Any]:
    """How judgments became answers: the method, what it is told beside the judgments, and its seed where it has one."""
    parameters: dict[str, Any] = {}
    if spec.decide_by in INFERENCE:
        there: Mapping[str, Callable[..., object]] = (
            numbers.METHODS if spec.answer.type == "number" else methods.METHODS
        )
        told = inspect.signature(there[spec.decide_by]).parameters.values()
        parameters = {p.name: p.default for p in told if p.default not in (p.empty, None)}
    if spec.decide_by == "weighted":
        parameters["weights"] = [{judge.judge: judge.weight for judge in stage.judges} for stage in spec.stages]
    return {"method": spec.decide_by, "parameters": parameters, "seed": None}


def fingerprint(job_file: Mapping[str, Any]) -> str:
    """The digest of a job file: SHA-256 of its JSON with sorted keys."""
    return hashlib.sha256(json.dumps(job_file, sort_keys=True).encode()).hexdigest()


def _file(path: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "sha256": digest(path)}
