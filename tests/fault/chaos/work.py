"""The drill's job: what is known of every task beforehand. Pure but for the files it writes."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.fault.chaos import handlers

#: The judge, a crowd that is paid, and how many of it judge each task.
JUDGE, TIMES = "people", 2
#: What one judgment that is the answer, as all are here, comes to: for itself and for agreement, in millionths.
REWARDS, EARNED = {"judgment": 0.05, "agreement": 0.01}, 60_000
#: How tasks kill, and how many of fifty do so: most end their child, some hang, one takes the whole worker with it.
WAYS = ("exit",) * 18 + ("segfault",) * 12 + ("memory",) * 12 + ("hang",) * 7 + ("worker",)
#: Seconds that a slow task takes, and the share of the drill's time that its children spend on these.
SLOW, BUSY = 0.05, 0.5
#: Seconds after which a child that hangs is killed.
HARD_LIMIT = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The job: ``killers`` by position, and how; every ``slow``-th task is slow, every ``flaky``-th fails once."""

    tasks: int
    size: int
    slow: int
    flaky: int
    killers: Mapping[int, str]

    def write(self, folder: Path) -> Path:
        """Write source, handlers and job file; the job file's path."""
        with (folder / "rows.jsonl").open("w") as rows:
            rows.writelines(f'{{"n": {n}}}\n' for n in range(self.tasks))
        known = asdict(self) | {"seconds": SLOW, "times": TIMES, "killers": dict(self.killers)}
        (folder / handlers.KNOWN).write_text(json.dumps(known))
        (folder / "flaky").mkdir()
        (folder / "handlers.py").write_text(Path(handlers.__file__).read_text())
        said: dict[str, Any] = {
            "name": "chaos", "source": {"path": "rows.jsonl", "input": "n"}, "answer": {"type": "number"},
            "stages": [{"judges": [{JUDGE: TIMES}]}], "suite": self.size, "handlers": "handlers.py",
            "rewards": REWARDS,
        }  # fmt: skip
        file = folder / "job.yaml"
        file.write_text(json.dumps(said))  # JSON is YAML
        return file


def work(tasks: int, seconds: float, children: int, seed: int) -> Work:
    """A job that keeps so many children at work for about so long."""
    chance = random.Random(seed)
    size = max(5, min(500, tasks // 400))
    slow = max(1, round(tasks * TIMES * SLOW / (seconds * children * BUSY)))
    count = max(3, min(len(WAYS), tasks // 2000))
    ways = [*chance.sample(WAYS[:-1], count - 1), WAYS[-1]]
    killers = dict(zip(sorted(chance.sample(range(tasks), count)), chance.sample(ways, count), strict=True))
    return Work(tasks=tasks, size=size, slow=slow, flaky=max(97, tasks // 1000), killers=killers)
