"""What is done about a worker: each rule, the gravest first, and no cliffs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from manyhands.spec.quality import Bounds, Qualify, Quality
from manyhands_aggregator.truth.ballots import Ballots
from manyhands_aggregator.truth.reputation import bounds
from manyhands_aggregator.truth.verdict import Evidence, to_reopen, verdict

STRICT = Quality(
    qualify=Qualify(accuracy=0.8),
    warn=Bounds(accuracy=0.8),
    pause=Bounds(accuracy=0.7),
    retire=Bounds(accuracy=0.6),
)
#: From the kindest to the gravest, with STRICT.
GRAVER = ["qualify", None, "warn", "pause", "retire"]


def seen(right: float, compared: float, **more: object) -> Evidence:
    """Evidence of this many right judgments."""
    return Evidence(judgments=int(compared), compared=compared, right=right, **more)  # type: ignore[arg-type]


def test_by_hand() -> None:
    """Wilson's bounds at 95 % of 200 judgments and the prior: 60 right have at most 0.36, 190 at least 0.91."""
    assert verdict(STRICT, seen(60, 200)).action == "retire"
    assert verdict(STRICT, seen(122, 200)).action == "pause"
    assert verdict(STRICT, seen(145, 200)).action == "warn"
    assert verdict(STRICT, seen(160, 200)).action is None
    assert verdict(STRICT, seen(190, 200)).action == "qualify"
    assert verdict(STRICT, seen(60, 200)).reasons == (f"right in at most {bounds(60, 200)[1]:.1%} of its judgments",)


def test_nobody_is_judged_unseen() -> None:
    """Nor by one bad judgment, or three good ones."""
    for right, compared in ((0, 0), (0, 1), (3, 3)):
        assert verdict(STRICT, seen(right, compared)).action is None
        assert verdict(Quality(), seen(right, compared)).action is None


@given(st.integers(0, 100), st.integers(0, 100), st.integers(0, 50), st.integers(0, 50))
def test_earlier_jobs_are_evidence_like_judgments(right: int, wrong: int, good: int, bad: int) -> None:
    """As if they were of this job, for the good and the bad alike; and reasons say so."""
    before, n = (float(good), float(good + bad)), right + wrong
    found = verdict(STRICT, seen(right, n, earlier=before))
    assert found.action == verdict(STRICT, seen(right + good, n + good + bad)).action
    assert all(reason.endswith(", earlier jobs included") == (good + bad > 0) for reason in found.reasons)


@given(st.integers(0, 300), st.integers(0, 300))
def test_a_right_judgment_never_does_harm(right: int, wrong: int) -> None:
    """Nor a wrong one good; and one more judgment moves a worker by one step at most."""
    step = [GRAVER.index(verdict(STRICT, seen(right + r, right + wrong + 1)).action) for r in (0, 1)]
    now = GRAVER.index(verdict(STRICT, seen(right, right + wrong)).action)
    assert step[1] <= now <= step[0]
    if right + wrong > 20:
        assert step[0] - step[1] <= 1


@pytest.mark.parametrize(
    ("evidence", "action", "why"),
    [
        (seen(50, 60, spam=0.96), "retire", "does not look"),
        (seen(50, 60, spam=0.7), "pause", "does not look"),
        (seen(50, 60, spam=0.4), "warn", "does not look"),
        (seen(50, 60, copies=3), "pause", "copies another"),
        (seen(50, 60, twin=3), "warn", "same mistakes"),
        (seen(50, 60, change=-0.3, deviation=0.1), "warn", "worse by at least 13.6%"),
        (seen(50, 60, repeats=0.9, repeats_expected=0.3, repeats_chance=1e-9), "warn", "in 90.0% of its"),
        (seen(50, 60, spam=0.1, change=-0.3, deviation=0.2, repeats_chance=0.1), None, ""),
    ],
)  # fmt: skip
def test_the_rules_of_a_job_that_has_none_of_its_own(evidence: Evidence, action: str | None, why: str) -> None:
    """Each measure, with its reason."""
    found = verdict(Quality(), evidence)
    assert found.action == action
    assert why in " ".join(found.reasons)


def test_a_rule_switched_off_does_nothing() -> None:
    """False in the job file, also when it has travelled."""
    rules = Quality(warn=False, pause=False, retire=False)
    rules = Quality.model_validate(rules.model_dump(mode="json", exclude_none=True))
    found = verdict(rules, seen(0, 1000, spam=1.0, copies=1))
    assert found.action is None


def test_a_rule_must_say_something() -> None:
    """An empty one would never act."""
    with pytest.raises(ValidationError, match="at least one"):
        Bounds(sure=0.9)


def test_what_rests_on_a_retired_worker_is_judged_anew() -> None:
    """Not what it judged otherwise, and not what is open."""
    ballots = Ballots.of([0, 0, 1, 1, 2, 3], [0, 1, 0, 1, 1, 0], [1, 1, 0, 1, 1, 1])
    again = to_reopen(ballots, np.array([1, 1, 1, -1], np.int32), np.array([True, False]))
    assert again.tolist() == [0]
