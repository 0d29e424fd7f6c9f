"""How much one person may give, and what an hour of theirs comes to; pure, in whole millionths of the currency."""

from __future__ import annotations

from collections.abc import Mapping

from manyhands_aggregator.incentives import Rules, Sum

#: Seconds of an hour.
HOUR = 3600
#: Seconds of work under which an hourly wage says too little to raise an alert.
LEAST = 600.0


def most(share: float, asked: int) -> int:
    """How many of so many judgments that are ``asked`` of people one of them may give; in a job of few, one."""
    return max(1, int(share * asked + 1e-9))


def left(rules: Rules, asked: int | None, given: int, balance: int) -> int | None:
    """How many more judgments a person may be given who has given so many; None: as many as there are.

    Nobody gives more than the share of what is ``asked``, where that was counted, or works beyond the cap for nothing:
    ``balance`` is what is earned already.
    """
    bounds = []
    if rules.share is not None and asked is not None:
        bounds.append(most(rules.share, asked) - given)
    if rules.per_person is not None and rules.judgment:
        bounds.append(-(-(rules.per_person - balance) // rules.judgment))
    return max(0, min(bounds)) if bounds else None


def hourly(earned: int, seconds: float) -> int | None:
    """The effective wage of an hour, in millionths; None where no time has passed."""
    return round(earned * HOUR / seconds) if seconds > 0 else None


def underpaid(rules: Rules, people: Mapping[str, Sum], *, least: float = LEAST) -> dict[str, int]:
    """People whose hourly wage is under the floor, and that wage; of those who have worked ``least`` seconds or more.

    Time is that from taking a suite to handing it in.
    """
    if rules.floor is None:
        return {}
    wages = {who: hourly(one.amount, one.millis / 1000) for who, one in people.items() if one.millis >= least * 1000}
    return {who: wage for who, wage in sorted(wages.items()) if wage is not None and wage < rules.floor}
