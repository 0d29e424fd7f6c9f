"""What people may still be asked, and what an hour of theirs comes to; pure, in whole millionths of the currency."""

from __future__ import annotations

from collections.abc import Mapping

from manyhands_aggregator.incentives import Rules, Sum

#: Seconds of an hour.
HOUR = 3600
#: Seconds of work under which an hourly wage says too little to raise an alert.
LEAST = 600.0


def affordable(rules: Rules, spent: int, asked: int) -> int | None:
    """How many more judgments may be asked for without going beyond what the job may pay; None: as many as you like.

    ``spent`` is what is earned already, ``asked`` how many judgments are asked for and not paid yet. Each is reckoned
    at the most it may come to, so that what was asked for can always be paid.
    """
    if rules.per_job is None or rules.most == 0:
        return None
    return max(0, (rules.per_job - spent) // rules.most - asked)


def allowed(rules: Rules, planned: int, given: int, balance: int, unpaid: int = 0) -> int | None:
    """How many more judgments a person may be given; None: as many as there are.

    ``planned`` are the job's judgments by people in all, ``given`` those that the person has given or has in hand,
    ``unpaid`` those of them that are not in the ledger yet, and ``balance`` what is: nobody gives more than the share,
    or works beyond the cap for nothing. In a job of few judgments everybody may give one.
    """
    bounds = []
    if rules.share is not None:
        bounds.append(max(1, int(rules.share * planned + 1e-9)) - given)
    if rules.per_person is not None and rules.judgment:
        bounds.append(-(-(rules.per_person - balance) // rules.judgment) - unpaid)
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
