"""Cutting rows into suites: pure, and quick where nothing is out of the ordinary."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgpack

from manyhands_producer.sources.base import BAD_ROW, TOO_LARGE, Refusal, Rows
from manyhands_producer.spool import Cut, pack, squeeze

#: A suite is closed when its tasks have this many bytes, however few they are: large suites cost every judge memory,
#: and save next to nothing any more.
CLOSE_AT = 256 << 10
#: Characters of a refusal's sentence that travel.
SAID_LIMIT = 300


@dataclass(frozen=True, slots=True)
class Limits:
    """What one message of at most ``body`` bytes leaves for tasks."""

    body: int

    @property
    def task(self) -> int:
        """The most bytes one packed payload may have: room is left for the rest of the message and zstd's frame."""
        return self.body - self.body // 64 - 512

    @property
    def close(self) -> int:
        """The bytes at which a suite is closed; positions may take as much again."""
        return min(CLOSE_AT, self.task // 2)

    def tasks(self, wanted: int) -> int:
        """How many tasks a suite may have when ``wanted`` are: a position takes up to nine bytes."""
        return max(1, min(wanted, self.body // 40))


def cut(rows: Rows, *, suite: int, first: int, tasks: int, limits: Limits) -> list[Cut]:
    """All the rows in suites of at most ``tasks``, numbered from ``suite``, positions from ``first``.

    Rows that cannot travel are added to ``rows.refused``.
    """
    cuts: list[Cut] = []
    tasks = limits.tasks(tasks)
    refused = sorted(rows.refused)
    for start in range(0, len(rows.payloads), tasks):
        end = min(start + tasks, len(rows.payloads))
        done = None if any(start <= index < end for index in refused) else _quick(rows, start, end, limits)
        if done is not None:
            opened, body, size = done
            cuts.append(
                Cut(
                    suite=suite + len(cuts),
                    first=first + start,
                    count=end - start,
                    refused=0,
                    size=size,
                    opened=opened,
                    body=body,
                )
            )
            continue
        cuts += _slow(rows, start, end, suite + len(cuts), first, limits)
    return cuts


def _quick(rows: Rows, start: int, end: int, limits: Limits) -> tuple[bytes, bytes, int] | None:
    """A suite in one go; None when it is too large, or anything in it cannot be packed."""
    try:
        body = pack(rows.payloads[start:end])
        opened = b""
        if rows.ids is not None or rows.truths is not None:
            ids = None if rows.ids is None else rows.ids[start:end]
            truths = _truths(rows, start, end)
            opened = pack([ids, truths, None]) if ids or truths else b""
    except (ValueError, TypeError):
        return None
    if len(body) > limits.close or len(opened) > limits.close:
        return None
    return squeeze(opened), squeeze(body), len(body) + len(opened)


def _truths(rows: Rows, start: int, end: int) -> list[Any] | None:
    """The truths of a run of rows, or None where none is known."""
    truths = None if rows.truths is None else rows.truths[start:end]
    return None if truths is None or truths.count(None) == len(truths) else truths


def _slow(rows: Rows, start: int, end: int, suite: int, first: int, limits: Limits) -> Iterator[Cut]:
    """The same run task by task: what cannot travel is refused, and the suite closed when it is full."""
    part = _Part(rows, start, first)
    for index in range(start, end):
        packed = _packed(rows, index, limits)
        said = 0 if packed is not None else 4 * SAID_LIMIT
        own = len(rows.ids[index] or "") * 4 if rows.ids is not None else 0
        truth = len(pack(rows.truths[index])) if rows.truths is not None else 0
        if part.count and not part.room(0 if packed is None else len(packed), said + own + truth, limits):
            yield part.close(suite)
            suite += 1
            part = _Part(rows, index, first)
        part.add(packed, said + own + truth)
    yield part.close(suite)


def _packed(rows: Rows, index: int, limits: Limits) -> bytes | None:
    """A payload as it travels, or None if its row is refused: before, or now because it cannot travel."""
    if index in rows.refused:
        if rows.truths is not None:
            rows.truths[index] = None
        return None
    refusal = None
    try:
        packed = pack(rows.payloads[index])
        if len(packed) > limits.task:
            refusal = Refusal(TOO_LARGE, f"{len(packed):,} bytes of at most {limits.task:,}")
        elif rows.truths is not None and len(pack(rows.truths[index])) > limits.close // 4:
            refusal = Refusal(BAD_ROW, f"its truth has more than {limits.close // 4:,} bytes")
    except (ValueError, TypeError) as error:
        refusal = Refusal(BAD_ROW, str(error))
    if refusal is None:
        return packed
    rows.refused[index] = Refusal(refusal.code, f"{rows.where(index)}: {refusal.message}")
    if rows.truths is not None:
        rows.truths[index] = None
    return None


class _Part:
    """A suite that is being filled."""

    def __init__(self, rows: Rows, start: int, first: int) -> None:
        self._rows, self._start, self._first = rows, start, first
        self._bodies: list[bytes] = []
        self._size = self._said = 0
        self.count = 0

    def room(self, size: int, said: int, limits: Limits) -> bool:
        return self._size + size <= limits.close and self._said + said <= limits.close

    def add(self, packed: bytes | None, said: int) -> None:
        self.count += 1
        self._said += said
        if packed is not None:
            self._bodies.append(packed)
            self._size += len(packed)

    def close(self, suite: int) -> Cut:
        rows, start, end = self._rows, self._start, self._start + self.count
        refused: dict[int, dict[str, str]] = {}
        for index in range(start, end):
            if (refusal := rows.refused.get(index)) is not None:
                said = refusal.message.encode(errors="replace").decode()[:SAID_LIMIT]
                refused[self._first + index] = {"code": refusal.code, "message": said}
        ids: list[Any] | None = None
        if rows.ids is not None:
            ids = [
                own if own is not None else str(self._first + start + i) for i, own in enumerate(rows.ids[start:end])
            ]
        truths = _truths(rows, start, end)
        opened = pack([ids, truths, refused or None]) if ids or truths or refused else b""
        body = msgpack.Packer().pack_array_header(len(self._bodies)) + b"".join(self._bodies)
        return Cut(
            suite=suite,
            first=self._first + start,
            count=self.count,
            refused=len(refused),
            size=len(body) + len(opened),
            opened=squeeze(opened),
            body=squeeze(body),
        )
