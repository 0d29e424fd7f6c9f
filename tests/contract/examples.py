"""One message of every type, version and shape that the wire has seen; their golden bytes are in ``golden/``.

A new version, or a new shape of one, gets a line in :data:`EXAMPLES` and its file with

    python -m tests.contract.examples

which writes only the files that are missing: bytes that were once sent are never written again.
"""

from __future__ import annotations

from pathlib import Path

from manyhands.codec import encode
from manyhands.messages import Event, Failure, Judgments, Message, Suite

FOLDER = Path(__file__).parent / "golden"

#: By the name of its file, which begins with the type and version.
EXAMPLES: dict[str, Message] = {
    "suite.v1": Suite(
        job="digits-0a1b2c3d",
        suite=7,
        stage=0,
        judge="svm",
        slot=1,
        positions=[700, 701, 703],
        payloads=["plain text", {"pixels": [0, 15, 16], "raw": b"\x00\xff"}, None],
        attempt=2,
        spec="9f86d081884c7d65",
        expires_at=1_700_000_000.5,
    ),
    "suite.v1-least": Suite(job="j", suite=0, stage=0, judge="a", slot=0, positions=[0], payloads=[0]),
    "suite.v1-attempts": Suite(
        job="j", suite=0, stage=0, judge="a", slot=0, positions=[0], payloads=[0], attempt=4, max_attempts=5
    ),
    "suite.v1-zstd": Suite(
        job="long-0a1b2c3d",
        suite=1,
        stage=0,
        judge="reader",
        slot=0,
        positions=list(range(100)),
        payloads=["a text that comes again and again, 中文 too"] * 100,
    ),
    "judgments.v1": Judgments(
        job="digits-0a1b2c3d",
        suite=7,
        stage=0,
        judge="svm",
        slot=1,
        worker="host-1234",
        positions=[700, 701, 703],
        values=["3", None, ["a", "b"]],
        confidences=[0.75, None, 1],
        errors={701: Failure(code="rejected", message="The task can never be judged: no picture")},
        version="3",
        attempt=2,
        started=1_700_000_000.0,
        finished=1_700_000_001.25,
    ),
    "judgments.v1-least": Judgments(
        job="j", suite=0, stage=0, judge="a", slot=0, worker="w", positions=[0], values=[True]
    ),
    "judgments.v1-costs": Judgments(
        job="reviews-0a1b2c3d",
        suite=0,
        stage=0,
        judge="model",
        slot=0,
        worker="host-1",
        positions=[0, 1, 2],
        values=["positive", None, "mixed"],
        costs=[0.0000125, None, 0],
        errors={1: Failure(code="rejected", message="The task can never be judged: refused")},
    ),
    "event.v1": Event(
        name="job.sealed", job="digits-0a1b2c3d", data={"tasks": 1797, "suites": 18, "nested": {"a": [1.5, None]}}
    ),
    "event.v1-least": Event(name="job.opened", job="j"),
}


def write() -> list[Path]:
    """Write the golden files that are missing."""
    written = []
    for name, message in EXAMPLES.items():
        file = FOLDER / f"{name}.bin"
        if not file.exists():
            file.write_bytes(encode(message).body)
            written.append(file)
    return written


if __name__ == "__main__":
    for file in write():
        print(file.name)
