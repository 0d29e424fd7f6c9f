"""How long answers stay away after the broker has come back."""

from __future__ import annotations

import statistics
import time
from dataclasses import replace

from benchmarks import installation as installations
from benchmarks.children import CaseError, wait_for
from benchmarks.context import Context, Figures
from tests import services

#: Tasks of a suite, and answers between two restarts: the job is in full flow then.
SUITE, FLOW = 5, 100


def recovery(context: Context) -> Figures:
    """Restarts of a broker under load: seconds from when it takes connections to the next answer."""
    restarts = context.sizes.restarts
    count = 4 * FLOW * (restarts + 1)
    with services.private_rabbitmq() as broker:
        own = replace(context, broker=broker.url)
        with installations.installation(own) as there:
            spec = installations.job(
                "bench-recovery", suite=SUITE, source=own.source(count), judge=installations.SLEEPER
            )
            name = there.open(spec)
            taken = []
            for _ in range(restarts):
                _passes(there, name, _answered(there, name) + FLOW)
                broker.stop()
                before = _answered(there, name)
                broker.start()
                begun = time.perf_counter()
                _passes(there, name, before)
                taken.append(time.perf_counter() - begun)
            said = installations.until_ended(there, name, 300)
            if said["state"] != "complete" or said["answered"] != count or not said["conserved"]:
                raise CaseError(f"the job did not come through whole: {said}")
    return {"median_s": statistics.median(taken), "longest_s": max(taken)}


def _answered(there: installations.Installation, name: str) -> int:
    return int(there.progress(name).get("answered", 0))


def _passes(there: installations.Installation, name: str, count: int) -> None:
    """Wait until more tasks than that are answered."""
    wait_for(lambda: _answered(there, name) > count, 120, f"more than {count} answers", every=0.01)
