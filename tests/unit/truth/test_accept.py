"""When a task has judgments enough."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyhands_aggregator.truth.accept import Rule, accepts, spent, stops
from manyhands_aggregator.truth.belief import Beliefs, Vote


def votes_for(*labels: int) -> list[Vote]:
    """One vote each, of different voters."""
    return [Vote(f"w{index}", label) for index, label in enumerate(labels)]


@pytest.mark.parametrize(
    ("rule", "labels", "expected"),
    [
        (Rule(confidence=0.7), [1], True),
        (Rule(confidence=0.71), [1], False),
        (Rule(margin=2), [1, 1], True),
        (Rule(margin=2), [1, 1, 0], False),
        (Rule(agree=2), [1, 1, 0], True),
        (Rule(agree=2), [0, 1, 2], False),
        (Rule(agree=2, margin=2), [1, 1, 0], False),
        (Rule(confidence=0.9, agree=3), [1, 1], False),
        (Rule(at_most=2), [1], False),
        (Rule(at_most=2), [1, 0], True),
        (Rule(), [2], True),
        (Rule(), [], False),
        (Rule(margin=0), [], False),
    ],
)
def test_what_a_rule_accepts(rule: Rule, labels: list[int], expected: bool) -> None:
    """Every condition given must hold, and nothing is accepted without a vote."""
    votes = votes_for(*labels)
    assert accepts(rule, Beliefs(3).posterior(votes), votes) is expected


def test_the_same_voter_agrees_with_itself_only_once() -> None:
    """Two slots of one model are one voter; one that says two things counts for each in part."""
    beliefs, rule = Beliefs(2), Rule(agree=2)
    same = [Vote("svm", 1), Vote("svm", 1)]
    assert not accepts(rule, beliefs.posterior(same), same)
    split = [Vote("svm", 1), Vote("svm", 0), Vote("ann", 1), Vote("bob", 1)]
    assert accepts(rule, beliefs.posterior(split), split)
    assert accepts(Rule(margin=2), beliefs.posterior(split), split)


def test_at_most_ends_a_stage_without_accepting() -> None:
    """A stage that may buy no more is done with the task; whether it was sure is another matter."""
    votes = votes_for(0, 1)
    posterior = Beliefs(2).posterior(votes)
    rule = Rule(confidence=0.9, at_most=2)
    assert spent(rule, votes)
    assert stops(rule, posterior, votes)
    assert not accepts(rule, posterior, votes)
    assert not stops(Rule(confidence=0.9), posterior, votes)


LIMITS = st.tuples(st.none() | st.floats(0, 1), st.none() | st.integers(0, 5), st.none() | st.integers(0, 5))


@given(LIMITS, st.lists(st.integers(0, 2), min_size=1, max_size=8))
def test_a_rule_that_asks_for_less_accepts_no_less(
    limits: tuple[float | None, int | None, int | None], labels: list[int]
) -> None:
    """Accepting is monotone in what is asked."""
    confidence, margin, agree = limits
    strict = Rule(confidence=confidence, margin=margin, agree=agree)
    mild = Rule(confidence=confidence and confidence * 0.9, margin=margin and margin - 1, agree=agree and agree - 1)
    votes = votes_for(*labels)
    posterior = Beliefs(3).posterior(votes)
    assert accepts(mild, posterior, votes) >= accepts(strict, posterior, votes)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0.34, 1))
def test_a_surer_posterior_is_accepted_no_less(confidence: float, one: float, other: float) -> None:
    """Accepting is monotone in the posterior of the likeliest answer."""
    low, high = sorted((max(one, 0.34), max(other, 0.34)))
    rule, votes = Rule(confidence=confidence), votes_for(0)
    made = [np.array([p, (1 - p) / 2, (1 - p) / 2]) for p in (low, high)]
    assert accepts(rule, made[1], votes) >= accepts(rule, made[0], votes)
