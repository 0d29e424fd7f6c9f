"""How much more eight workers do than one, where a task costs waiting and not computing."""

from __future__ import annotations

import time

from benchmarks import installation as installations
from benchmarks.children import CaseError
from benchmarks.context import Context, Figures
from benchmarks.handlers import NAP

#: Workers beside one, each with one child.
WORKERS = 8
#: Tasks of a suite: 50 ms, the size of thing that is worth a message.
SUITE = 5


def scaling(context: Context) -> Figures:
    """Tasks a second of one worker and of eight, which each have as much to do; from opening the job to its end."""
    one, many = (_rate(context, workers) for workers in (1, WORKERS))
    return {"tasks_per_second_of_1": one, f"tasks_per_second_of_{WORKERS}": many, "times": many / one}


def _rate(context: Context, workers: int) -> float:
    count = int(context.sizes.naps / NAP) * workers
    source = context.source(count)
    with installations.installation(context, workers=workers, MANYHANDS_CHILDREN="1") as there:
        begun = time.perf_counter()
        name = there.open(installations.job("bench", suite=SUITE, source=source, judge=installations.SLEEPER))
        said = installations.until_ended(there, name, 300)
        seconds = time.perf_counter() - begun
        if said["state"] != "complete" or said["answered"] != count:
            raise CaseError(f"the job did not come through whole: {said}")
        return count / seconds
