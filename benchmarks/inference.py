"""Truth from a million judgments: Dawid-Skene beside crowd-kit's, and the default, each in a process of its own."""

from __future__ import annotations

import multiprocessing
import resource
import time
import warnings
from typing import Any

from benchmarks.context import Context, Figures


def truth(context: Context) -> Figures:
    """Ten classes, five judgments a task; the same method to the same end, with arrays of integers in memory."""
    found: dict[str, float] = {}
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for name in ("ours", "crowd_kit", "default"):
            seconds, mib, posterior = pool.apply(_run, (name, context.sizes.judgments))
            found[f"{name}_judgments_per_second"] = context.sizes.judgments / seconds
            found[f"{name}_mib_at_most"] = mib
            found[f"{name}_sum"] = posterior
    if abs(found.pop("ours_sum") - found.pop("crowd_kit_sum")) > 1e-3:
        raise ValueError("crowd-kit's Dawid-Skene and ours have come to different ends")
    del found["default_sum"]
    return found


def _run(name: str, judgments: int) -> tuple[float, float, float]:
    """Seconds, most memory in MiB, and the sum of the highest posteriors."""
    from manyhands.testing.crowd import Crowd, simulate
    from manyhands_aggregator.truth.ballots import Ballots
    from manyhands_aggregator.truth.methods import DEFAULT, infer

    crowd = Crowd(tasks=judgments // 5, classes=10, workers=max(10, judgments // 200), redundancy=5, skill=(4, 2))
    said = simulate(crowd)
    ballots = Ballots.of(said.task, said.worker, said.label)
    if name == "crowd_kit":
        import pandas as pd
        from crowdkit.aggregation.classification import DawidSkene

        warnings.simplefilter("ignore")  # pandas says much of how crowd-kit calls it
        table: Any = pd.DataFrame({"task": ballots.task, "worker": ballots.worker, "label": ballots.label})
        begun = time.perf_counter()
        posterior = DawidSkene().fit_predict_proba(table).to_numpy()
    else:
        begun = time.perf_counter()
        posterior = infer(ballots, DEFAULT if name == "default" else "dawid-skene").posterior
    seconds = time.perf_counter() - begun
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, float(posterior.max(axis=1).sum())
