"""How judgments become an answer: the names there are."""

from __future__ import annotations

from typing import Literal, get_args

#: Rules of a task alone.
Plain = Literal["majority", "weighted", "mean", "median", "first", "normalised", "rover"]
#: Methods of inference: they weigh voters by how they judged the whole job, whose answers they go over at its end.
Inference = Literal[
    "wawa", "zero-based-skill", "one-coin", "dawid-skene", "ibcc", "glad", "mace", "bwa", "pooled", "blend"
]
Method = Plain | Inference

INFERENCE: tuple[str, ...] = get_args(Inference)
#: The strongest of them.
STRONGEST: Inference = "blend"
