"""A source read elsewhere, as tasks to be pushed: for a producer that cannot reach it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from manyhands.errors import SourceError
from manyhands.messages import GOLD_ID
from manyhands.spec import JobSpec
from manyhands_producer.sources import load_gold, load_mixed, open_source

#: Bytes of payload in one push, about.
PUSH_BYTES = 1 << 20


def tasks_of(spec: JobSpec, job: str, most: int) -> Iterator[list[dict[str, Any]]]:
    """The tasks of a job's source in order, at most ``most`` rows at a time, as the API takes them.

    Gold is mixed in here, at places that follow from what it is: they are the same whenever the job is uploaded.

    Raises:
        SourceError: the source cannot be read; a row is bad, for a row that is left out could not be accounted for; or
            the payloads are bytes, which JSON cannot carry.
    """
    gold, mixed, position = load_gold(spec), load_mixed(spec, job, None), 0
    source = open_source(spec)
    try:
        while True:
            rows = source.read(most, PUSH_BYTES)
            for index, refusal in rows.refused.items():
                raise SourceError(
                    f"{rows.where(index)}: {refusal.message}; mend it, or let the producer read the source"
                )
            if mixed is not None:
                rows = mixed.mix(rows, position)
            tasks: list[dict[str, Any]] = []
            for index, payload in enumerate(rows.payloads):
                if isinstance(payload, bytes):
                    raise SourceError(
                        "files as bytes cannot be uploaded; use payload: reference, or let the producer read"
                    )
                own = rows.ids[index] if rows.ids is not None else None
                task: dict[str, Any] = {"payload": payload}
                truth = rows.truths[index] if rows.truths is not None else None
                if own == GOLD_ID:
                    task["gold"] = True
                elif own is not None:
                    task["id"] = own
                if gold is not None:
                    truth = gold.get(own if own is not None else str(position + index))
                if truth is not None:
                    task["truth"] = truth
                tasks.append(task)
            position += len(tasks)
            if tasks:
                yield tasks
            if rows.end:
                return
    finally:
        source.close()
