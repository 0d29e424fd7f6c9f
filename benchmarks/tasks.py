"""The tasks: short texts in JSON Lines, the same on every machine."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator
from pathlib import Path

WORDS = """
the parcel came late but works fine colour is not what picture shows would buy again strap broke after two days
good value for money battery lasts all week instructions are hard to read my daughter loves it screen has a scratch
refund was quick smaller than i thought excellent sound too loud at night easy clean and very light
"""
#: Every so many texts they begin anew: making five million different ones would take longer than judging them.
CYCLE = 100_000


def texts(count: int) -> Iterator[str]:
    """Short texts of 6 to 14 words; the same ones every time."""
    words, chance = WORDS.split(), random.Random(20)
    made = [" ".join(chance.choices(words, k=chance.randint(6, 14))) for _ in range(min(count, CYCLE))]
    return itertools.islice(itertools.cycle(made), count)


def write(path: Path, count: int) -> Path:
    """Write a JSON Lines file of so many tasks, unless it is there already."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        with part.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps({"text": text}) + "\n" for text in texts(count))
        part.rename(path)
    return path
