"""What is on record of a job that has ended, as a sample to foretell others from."""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson

from manyhands.errors import ManyhandsError
from manyhands.messages import Failure
from manyhands.spec import JobSpec
from manyhands_aggregator.bundle.files import JUDGMENTS, MANIFEST, TASKS, Bundle
from manyhands_aggregator.sample import Said, Sample, Specimen
from manyhands_cli.bundle import OverApi, of_store
from manyhands_cli.client import Client
from manyhands_cli.folder import Folder

#: Tasks of a sample, at most: of a larger job it is every so-manieth.
MOST = 5000


class NoRecord(ManyhandsError):
    """Nothing can be foretold from that."""


def recall(source: str, spec: JobSpec, client: Client) -> Sample:
    """The sample that a job is: by its id over the API, or by the folder of a bundle, or of a `run`.

    A summary.json stands for the folder that it is in; where there is no more than the summary, what it says of how
    good the judges were is taken for the skills of judges who err independently.

    Raises:
        NoRecord: the folder or the file holds no such thing.
        NotThere, ServiceAway: the aggregator does not know the job, or is not there.
    """
    path = Path(source)
    folder = path.parent if path.is_file() else path
    if (folder / MANIFEST).exists():
        tasks = Bundle.open(folder).manifest["tasks"]
        return sample(spec, _lines(folder / TASKS), _lines(folder / JUDGMENTS), tasks)
    run = Folder(folder)
    if run.job is not None and (run.store != run.own_store or (folder / "manyhands-aggregator.db").exists()):
        with of_store(run.store, run.job) as recorded:
            return _of(spec, recorded)
    if path.is_file() or (folder / "summary.json").exists():
        return of_summary(spec, path if path.is_file() else folder / "summary.json")
    if path.is_dir():
        raise NoRecord(f"{folder} is neither a bundle nor the output folder of a run")
    return _of(spec, OverApi(client, source))


def _of(spec: JobSpec, recorded: Any) -> Sample:
    facts = recorded.facts()
    return sample(spec, _split(recorded.stream(TASKS)), _split(recorded.stream(JUDGMENTS)), facts["tasks"])


def sample(spec: JobSpec, tasks: Iterable[Any], judgments: Iterable[Any], count: int) -> Sample:
    """Lines of tasks and of judgments, both by position, as a sample; failures that were mended later are left out."""
    step = max(1, -(-count // MOST))
    truths, suites = {}, array("q")
    for task in tasks:
        suites.append(task["suite"])
        if "refused" not in task and task["position"] % step == 0:
            truths[task["position"]] = task.get("truth")
    said: dict[int, dict[str, dict[tuple[int, int], Said]]] = {position: {} for position in truths}
    spans: dict[str, set[tuple[Any, ...]]] = {}
    given: Counter[str] = Counter()
    for line in judgments:
        judge = line["judge"]
        if judge not in spec.judge_names:
            continue
        given[judge] += 1
        message = suites[line["position"]], line["stage"], line["slot"], line["worker"], line["started"]
        spans.setdefault(judge, set()).add((*message, line["finished"]))
        if (of := said.get(line["position"])) is not None:
            slot, error = (line["stage"], line["slot"]), line.get("error")
            there = of.setdefault(judge, {})
            if error is None:
                there[slot] = Said(line["worker"], line["value"], line.get("confidence"), line.get("cost"))
            else:
                there.setdefault(slot, Said(line["worker"], failure=Failure(**error)))
    if not given:
        raise NoRecord("none of the plan's judges has judged in that job")
    seconds = {
        judge: sum(finished - started for *_, started, finished in messages) / given[judge]
        for judge, messages in spans.items()
    }
    specimens = [
        Specimen({judge: [*slots.values()] for judge, slots in of.items()}, truths[position])
        for position, of in said.items()
    ]
    return Sample(tasks=specimens, seconds=seconds, ordered=True)


def of_summary(spec: JobSpec, file: Path) -> Sample:
    """How good and how fast the judges were, as the summary of a run tells it.

    Raises:
        NoRecord: it is none.
    """
    try:
        rows = {row["judge"]: row for row in json.loads(file.read_bytes())["judges"]}
        right = {judge: row.get("accuracy", row.get("agreement")) for judge, row in rows.items()}
        seconds = {judge: row["seconds_per_task"] for judge, row in rows.items() if row.get("seconds_per_task")}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise NoRecord(f"{file} is no summary of a run") from error
    skills = {judge: share for judge, share in right.items() if share is not None and judge in spec.judge_names}
    return Sample(skills=skills, seconds=seconds)


def _lines(file: Path) -> Iterator[Any]:
    with file.open("rb") as opened:
        yield from map(orjson.loads, opened)


def _split(blocks: Iterable[bytes]) -> Iterator[Any]:
    left = b""
    for block in blocks:
        *lines, left = (left + block).split(b"\n")
        yield from map(orjson.loads, lines)
    if left:
        yield orjson.loads(left)
