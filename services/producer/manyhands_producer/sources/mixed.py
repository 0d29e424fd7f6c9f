"""Gold items of their own among the rows of a source (docs/decisions/0019-gold-mixed-in.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from manyhands.errors import SourceError
from manyhands.messages import GOLD_ID
from manyhands.spec import JobSpec
from manyhands.spec.source import Gold as GoldKey
from manyhands_producer.sources.base import Refusal, Rows, Source
from manyhands_producer.sources.files import format_of
from manyhands_producer.spool import pack

#: Items of gold at most, and bytes of all of them: they are in memory for as long as the job is read.
ITEMS, LIMIT = 100_000, 64 << 20
#: Items and bytes read in one go.
SOME, BYTES = 1_000, 1 << 20


@dataclass(slots=True)
class Mixed:
    """Where gold lies in a job, and which: all of it follows from the job's id and its secret.

    Each run of ``every`` positions has one item, at a place of its own, until each item has been used once. Judges know
    the id and the positions, so without the ``secret`` the places would be none; only jobs from before have no secret.
    """

    job: str
    every: int
    payloads: Sequence[Any]
    truths: Sequence[Any]
    order: Sequence[int]
    secret: bytes

    @classmethod
    def of(cls, job: str, share: float, payloads: Sequence[Any], truths: Sequence[Any], secret: bytes) -> Mixed:
        """The items in the order in which this job has them."""
        order = sorted(range(len(payloads)), key=lambda item: _hash(secret, job, "item", item))
        return cls(job, max(2, round(1 / share)), payloads, truths, order, secret)

    def item(self, position: int) -> int | None:
        """Which item is at a position; None where a row of the source is."""
        run, place = divmod(position, self.every)
        return self.order[run] if run < len(self.order) and place == self._place(run) else None

    def before(self, position: int) -> int:
        """How many items lie before a position."""
        run, place = divmod(position, self.every)
        return min(run, len(self.order)) + (run < len(self.order) and self._place(run) < place)

    def _place(self, run: int) -> int:
        return _hash(self.secret, self.job, "run", run) % self.every

    def mix(self, rows: Rows, first: int) -> Rows:
        """The rows with the gold between them; they are the next of the source, and go to the positions from ``first``.

        Every row of the source has an id then, its number in the source where it has none of its own; gold has
        ``GOLD_ID``.

        Raises:
            SourceError: gold could be told from the rows of the source.
        """
        row = first - self.before(first)
        ids: list[str | None] = []
        payloads: list[Any] = []
        truths: list[Any] = []
        refused: dict[int, Refusal] = {}
        places: list[int] = []
        for index, payload in enumerate(rows.payloads):
            while (item := self.item(first + len(payloads))) is not None:
                payloads.append(self.payloads[item])
                truths.append(self.truths[item])
                ids.append(GOLD_ID)
                places.append(index)
            if index in rows.refused:
                refused[len(payloads)] = rows.refused[index]
            else:
                self._alike(payload, rows.where(index))
            payloads.append(payload)
            truths.append(None)
            ids.append(str(row + index) if rows.ids is None else rows.ids[index])
            places.append(index)
        where = rows.where
        return Rows(
            payloads=payloads, ids=ids, truths=truths, refused=refused, where=lambda i: where(places[i]), end=rows.end
        )

    def _alike(self, payload: Any, where: str) -> None:
        if self.payloads and (unlike := _kind(self.payloads[0])) != (kind := _kind(payload)):
            raise SourceError(f"gold can be told from the source: an item is {unlike}, and {where} is {kind}")


def read_items(spec: JobSpec, job: str, secret: bytes | None, share: float, source: Source) -> Mixed:
    """The items that a ``source`` has, that of :func:`items_of`, for a job and its share of gold; the source is closed.

    Without any ``secret`` the items themselves are it, with their truths, which nobody has but the requester: whoever
    mixes them in once more comes to the same places.

    Raises:
        SourceError: an item cannot be read, has no answer or none that could be one, or there are too many.
    """
    payloads: list[Any] = []
    truths: list[Any] = []
    options = set(spec.answer.options or ()) if spec.answer.type == "choice" else None
    size, digest = 0, blake2b(digest_size=32)
    try:
        while True:
            rows = source.read(SOME, BYTES)
            for refusal in rows.refused.values():
                raise SourceError(f"gold: {refusal.message}")
            for index, truth in enumerate(rows.truths or [None] * len(rows.payloads)):
                if truth is None or truth == "" or (options is not None and str(truth) not in options):
                    raise SourceError(f"gold: {rows.where(index)}: {truth!r} is no answer")
                truths.append(truth)
            payloads += rows.payloads
            try:
                packed = pack([rows.payloads, rows.truths])
            except (ValueError, TypeError) as error:
                raise SourceError(f"gold: an item cannot travel: {error}") from error
            digest.update(packed)
            size += len(packed)
            if len(payloads) > ITEMS or size > LIMIT:
                raise SourceError(f"gold of more than {ITEMS:,} items, or {LIMIT >> 20} MiB")
            if rows.end:
                break
    finally:
        source.close()
    kinds = sorted({_kind(payload) for payload in payloads})
    if len(kinds) > 1:
        raise SourceError(f"gold: items can be told from one another: one is {kinds[0]}, another {kinds[1]}")
    return Mixed.of(job, share, payloads, truths, digest.digest() if secret is None else secret)


def items_of(spec: JobSpec) -> JobSpec | None:
    """The job file by which the items of gold are read: as its source, with their truth in the column ``answer``.

    Those of a folder are files that a table names in the column ``file``.
    """
    if spec.gold is None or spec.gold.share is None or spec.source is None or spec.gold.path is None:
        return None
    changes: dict[str, Any] = {"path": spec.gold.path, "format": None, "on_bad_row": "stop"}
    source = spec.source.model_copy(update=changes | ({"input": "file"} if of_files(spec) else {}))
    return spec.model_copy(update={"source": source, "gold": GoldKey(column="answer")})


def of_files(spec: JobSpec) -> bool:
    """Whether the job's source is a folder."""
    return spec.source is not None and (spec.source.format or format_of(spec.source.path)) == "folder"


def _kind(payload: Any) -> str:
    if isinstance(payload, dict):
        return f"a map of {', '.join(sorted(map(str, payload)))}"
    return "text" if isinstance(payload, str) else "bytes" if isinstance(payload, bytes) else "a value"


def _hash(secret: bytes, *parts: object) -> int:
    text = "/".join(map(str, parts))
    return int.from_bytes(blake2b(text.encode(), digest_size=8, key=secret).digest())
