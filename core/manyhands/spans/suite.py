"""The root of a suite's trace: its ids follow from job and number of the suite, and so does whether it is sampled."""

from __future__ import annotations

import hashlib
import threading

from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import SpanContext, TraceFlags


class Roots:
    """The roots of an installation's suites, of which a ``share`` (0 to 1) is sampled."""

    def __init__(self, namespace: str, share: float) -> None:
        self._namespace, self._below = namespace, round(share * (1 << 64))

    def of(self, job: str, suite: int, opened: float) -> SpanContext | None:
        """The root of a suite; None when it is not sampled. ``opened`` tells jobs of the same name apart."""
        said = f"{self._namespace}/{job}/{suite}/{opened!r}"
        digest = hashlib.blake2b(said.encode("utf-8", "replace"), digest_size=24).digest()
        if int.from_bytes(digest[8:16], "big") >= self._below:
            return None
        return SpanContext(
            int.from_bytes(digest[:16], "big"),
            int.from_bytes(digest[16:], "big"),
            False,
            TraceFlags(TraceFlags.SAMPLED),
        )


class Ids(RandomIdGenerator):
    """Random ids, but for the first span of a suite."""

    def __init__(self) -> None:
        self._next = threading.local()

    def derive(self, root: SpanContext | None) -> None:
        """The next span of this thread has these ids."""
        self._next.root = root

    def generate_trace_id(self) -> int:
        """The trace's id of the next span."""
        root: SpanContext | None = getattr(self._next, "root", None)
        return super().generate_trace_id() if root is None else root.trace_id

    def generate_span_id(self) -> int:
        """The span's id of the next span."""
        root: SpanContext | None = getattr(self._next, "root", None)
        return super().generate_span_id() if root is None else root.span_id


def attributes(job: str, suite: int, tasks: int | None = None) -> dict[str, str | int]:
    """What a span says of the suite that it is about."""
    about: dict[str, str | int] = {"manyhands.job": job, "manyhands.suite": suite}
    return about if tasks is None else {**about, "manyhands.tasks": tasks}
