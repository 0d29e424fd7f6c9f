"""Accept rules as one word of a command line."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from manyhands.errors import ManyhandsError
from manyhands_aggregator.truth.accept import Rule

#: Confidence and at most of ``adaptive`` where a task has so many judgments or fewer, and so many or more.
SPARING, GENEROUS = (0.85, 8), (0.95, 12)
SCARCE, PLENTY = 10, 20


def adaptive(redundancy: float) -> Rule:
    """The rule that suits most files, for as many judgments as a task has in the mean.

    Who bought twenty a task wanted to be as right as twenty make it: from ``SPARING`` to ``GENEROUS`` both bounds grow
    in a straight line. What it rests on is in docs/truth.md.
    """
    share = min(1.0, max(0.0, (redundancy - SCARCE) / (PLENTY - SCARCE)))
    confidence, at_most = (low + share * (high - low) for low, high in zip(SPARING, GENEROUS, strict=True))
    return Rule(confidence=round(confidence, 3), at_most=round(at_most))


#: Rules that have a name, by the mean number of judgments that a task has.
NAMED: Mapping[str, Callable[[float], Rule]] = {"adaptive": adaptive}


class BadPolicy(ManyhandsError):
    """The policy is not right."""


def parse(text: str, redundancy: float = 0.0) -> Rule:
    """A rule of what the text says: a name, ``key=value``, or several with commas between, the later ones counting.

    ``confidence=0.95,at_most=7``, ``margin=2``, ``agree=2``, ``adaptive,at_most=5``. ``redundancy`` is the mean number
    of judgments that a task has, which decides what a name stands for.

    Raises:
        BadPolicy: it says which part, and what there is to choose from.
    """
    said: dict[str, float | int] = {}
    for part in text.split(","):
        name, equals, value = (word.strip() for word in part.partition("="))
        if not equals and name in NAMED:
            named = NAMED[name](redundancy)
            said |= {key: known for key in _READ if (known := getattr(named, key)) is not None}
        elif equals and name in _READ:
            said[name] = _READ[name](name, value)
        else:
            known = ", ".join([*NAMED, *(f"{key}=…" for key in _READ)])
            raise BadPolicy(f"{part.strip()!r} is none of {known}")
    return Rule(**said)  # type: ignore[arg-type]  # each as _READ reads it


def _share(name: str, value: str) -> float:
    try:
        found = float(value)
    except ValueError:
        found = -1.0
    if not 0.0 <= found <= 1.0:
        raise BadPolicy(f"{name} must be between 0 and 1, not {value!r}")
    return found


def _whole(name: str, value: str) -> int:
    if not value.isdecimal() or int(value) < 1:
        raise BadPolicy(f"{name} must be a whole number from 1, not {value!r}")
    return int(value)


_READ = {"confidence": _share, "margin": _whole, "agree": _whole, "at_most": _whole}
