"""A source read elsewhere, as tasks to be pushed: for a producer that cannot reach it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from manyhands.errors import SourceError
from manyhands.spec import JobSpec
from manyhands_producer.sources import load_gold, open_source

#: Bytes of payload in one push, about.
PUSH_BYTES = 1 << 20


def tasks_of(spec: JobSpec, most: int) -> Iterator[list[dict[str, Any]]]:
    """The tasks of a job's source in order, at most ``most`` at a time, as the API takes them.

    Raises:
        SourceError: the source cannot be read; a row is bad, for a row that is left out could not be accounted for; or
            the payloads are bytes, which JSON cannot carry.
    """
    if spec.gold is not None and spec.gold.share is not None:
        raise SourceError("gold is mixed in by the producer that reads the source; it cannot be uploaded")
    source, gold, position = open_source(spec), load_gold(spec), 0
    try:
        while True:
            rows = source.read(most, PUSH_BYTES)
            for index, refusal in rows.refused.items():
                raise SourceError(
                    f"{rows.where(index)}: {refusal.message}; mend it, or let the producer read the source"
                )
            tasks: list[dict[str, Any]] = []
            for index, payload in enumerate(rows.payloads):
                if isinstance(payload, bytes):
                    raise SourceError(
                        "files as bytes cannot be uploaded; use payload: reference, or let the producer read"
                    )
                own = rows.ids[index] if rows.ids is not None else None
                task: dict[str, Any] = {"payload": payload}
                truth = rows.truths[index] if rows.truths is not None else None
                if own is not None:
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
