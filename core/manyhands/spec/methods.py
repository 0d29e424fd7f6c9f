"""How judgments become an answer: the names there are."""

from __future__ import annotations

from typing import Literal, get_args

#: Rules of a task alone.
Plain = Literal["majority", "weighted", "mean", "median", "first", "normalised", "rover"]
#: Methods of inference, for numbers and for choices: they weigh voters by how they judged the whole job, whose answers
#: they go over at its end.
OfNumbers = Literal["precision", "robust"]
OfChoices = Literal[
    "wawa", "zero-based-skill", "one-coin", "dawid-skene", "ibcc", "glad", "mace", "bwa", "pooled", "blend"
]
Method = Plain | OfNumbers | OfChoices

OF_NUMBERS: tuple[str, ...] = get_args(OfNumbers)
INFERENCE: tuple[str, ...] = (*OF_NUMBERS, *get_args(OfChoices))
#: The strongest of those for choices.
STRONGEST: OfChoices = "blend"
