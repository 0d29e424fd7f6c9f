"""Accept rules as one word of a command line."""

from __future__ import annotations

from collections.abc import Mapping

from manyhands.errors import ManyhandsError
from manyhands_aggregator.truth.accept import Rule

#: Rules that have a name. What the figures of ``adaptive`` rest on is in docs/truth.md.
NAMED: Mapping[str, Rule] = {"adaptive": Rule(confidence=0.85, at_most=8)}


class BadPolicy(ManyhandsError):
    """The policy is not right."""


def parse(text: str) -> Rule:
    """A rule of what the text says: a name, ``key=value``, or several with commas between, the later ones counting.

    ``confidence=0.95,at_most=7``, ``margin=2``, ``agree=2``, ``adaptive,at_most=5``.

    Raises:
        BadPolicy: it says which part, and what there is to choose from.
    """
    said: dict[str, float | int] = {}
    for part in text.split(","):
        name, equals, value = (word.strip() for word in part.partition("="))
        if not equals and name in NAMED:
            named = NAMED[name]
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
