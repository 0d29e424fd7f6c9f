"""The methods of inference by their names, and the one that is used if none is named."""

from __future__ import annotations

from collections.abc import Mapping

from manyhands_aggregator.truth.ballots import Ballots, Ints
from manyhands_aggregator.truth.blend import blend
from manyhands_aggregator.truth.bwa import bwa
from manyhands_aggregator.truth.dawid_skene import dawid_skene, one_coin
from manyhands_aggregator.truth.glad import glad
from manyhands_aggregator.truth.ibcc import ibcc
from manyhands_aggregator.truth.inferred import Inferred, Method, answers
from manyhands_aggregator.truth.mace import mace
from manyhands_aggregator.truth.pooled import pooled
from manyhands_aggregator.truth.voting import majority, wawa, zero_based_skill

__all__ = ["CELLS", "DEFAULT", "METHODS", "Inferred", "Method", "answers", "infer"]

METHODS: Mapping[str, Method] = {
    "majority": majority,
    "wawa": wawa,
    "zero-based-skill": zero_based_skill,
    "one-coin": one_coin,
    "dawid-skene": dawid_skene,
    "ibcc": ibcc,
    "glad": glad,
    "mace": mace,
    "bwa": bwa,
    "pooled": pooled,
    "blend": blend,
}
DEFAULT = "blend"
#: Numbers in the tables of tasks and of workers' choices by classes, at the most: half a gibibyte of each kind, of
#: which models hold up to eight.
CELLS = 1 << 26


def infer(ballots: Ballots, method: str = DEFAULT, *, gold: Ints | None = None) -> Inferred:
    """What the method makes of the judgments; ``gold`` (T,) has the truths that are known, and -1 for all others.

    The same judgments give the same result: no method draws lots.

    Raises:
        KeyError: there is no method of this name.
        ValueError: ``gold`` is not of one number, -1..K-1, for each task; or tasks and classes are too many for memory.
    """
    rows = ballots.tasks + min(len(ballots), ballots.workers * ballots.classes)
    if rows * ballots.classes > CELLS:
        raise ValueError(f"{len(ballots)} judgments of {ballots.tasks} tasks are too many for {ballots.classes} labels")
    if gold is not None and (gold.shape != (ballots.tasks,) or ((gold < -1) | (gold >= ballots.classes)).any()):
        raise ValueError(f"gold must be {ballots.tasks} numbers between -1 and {ballots.classes - 1}")
    return METHODS[method](ballots, gold=gold)
