"""The producer's messages: suites and job events, encoded and addressed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from manyhands.broker import Outgoing
from manyhands.codec import encode
from manyhands.messages import PUBLISHED_AT, SUITES_OPENED, Event, Suite
from manyhands.spec import JobSpec
from manyhands.topology import Names
from manyhands_producer.spool import Spooled

#: Bytes of one ``suites.opened``: the news of many suites in one message, and still a small message.
EVENT_BYTES = 256 << 10


class Messages:
    """Makes the messages of one installation."""

    def __init__(self, names: Names, limit: int) -> None:
        self._names, self._limit = names, limit

    def event(self, name: str, job: str, data: Mapping[str, Any]) -> Outgoing:
        """An event."""
        exchange, key = self._names.to_roles(name)
        encoded = encode(Event(name=name, job=job, data=data), limit=self._limit)
        return Outgoing(
            exchange=exchange, key=key, body=encoded.body, type=encoded.type, content_encoding=encoded.content_encoding
        )

    def opened(
        self, job: str, suites: Sequence[Spooled], total: int | None = None
    ) -> Iterator[tuple[Outgoing, tuple[int, ...]]]:
        """The news of suites, in as many events as it takes; and which suites each tells of.

        ``total`` is how many tasks the job has, where that is to be told already.
        """
        part: list[Spooled] = []
        size = 0
        most = min(EVENT_BYTES, self._limit // 2)
        for suite in suites:
            if part and size + suite.said > most:
                yield self._opened(job, part, total)
                part, size = [], 0
            part.append(suite)
            size += suite.said
        if part:
            yield self._opened(job, part, total)

    def _opened(self, job: str, suites: Sequence[Spooled], total: int | None) -> tuple[Outgoing, tuple[int, ...]]:
        numbers = [s.suite for s in suites]
        data: dict[str, Any] = {
            "suites": numbers,
            "firsts": [s.first for s in suites],
            "counts": [s.count for s in suites],
            "ids": [s.ids for s in suites],
            "truths": [s.truths for s in suites],
            "refused": [s.refused or None for s in suites],
        }
        if total is not None:
            data["total"] = total
        return self.event(SUITES_OPENED, job, data), tuple(numbers)

    def suite(
        self,
        job: str,
        suite: int,
        judge: str,
        slot: int,
        positions: Sequence[int],
        payloads: Sequence[Any],
        *,
        spec: JobSpec,
        digest: str,
        opened: float,
        now: float,
        stage: int = 0,
        attempt: int = 1,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> Outgoing:
        """A suite for one judge and slot, published at the time ``now``; ``headers`` say which trace it is of."""
        message = Suite(
            job=job, suite=suite, stage=stage, judge=judge, slot=slot, positions=positions, payloads=payloads,
            attempt=attempt, spec=digest, expires_at=None if spec.deadline is None else opened + spec.deadline,
            max_attempts=spec.max_attempts,
        )  # fmt: skip
        exchange, key = self._names.to_judge(judge)
        encoded = encode(message, limit=self._limit)
        return Outgoing(
            exchange=exchange, key=key, body=encoded.body, type=encoded.type,
            content_encoding=encoded.content_encoding, headers={PUBLISHED_AT: f"{now:.3f}", **headers},
        )  # fmt: skip
