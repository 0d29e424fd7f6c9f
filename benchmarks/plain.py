"""What there is to beat: one process, one loop, nothing kept safe. ``python -m benchmarks.plain IN OUT``."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from benchmarks.handlers import length


def main(source: str, target: str) -> None:
    """Read a JSON line, judge it, write a JSON line; print the seconds that all of it took."""
    begun = time.perf_counter()
    with Path(source).open(encoding="utf-8") as lines, Path(target).open("w", encoding="utf-8") as out:
        for position, line in enumerate(lines):
            task = json.loads(line)
            out.write(json.dumps({"id": position, "answer": length(task["text"])}) + "\n")
    print(time.perf_counter() - begun)


if __name__ == "__main__":
    main(*sys.argv[1:])
