"""When a task has judgments enough."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyhands_aggregator.truth import belief
from manyhands_aggregator.truth.accept import Rule, accepts, error_of_margin, margin_for, spent, stops
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


@pytest.mark.parametrize(
    ("margin", "right", "classes", "error"),
    [
        (0, 0.8, 2, 0.5),
        (1, 0.8, 2, 0.2),
        (2, 0.8, 2, 0.04 / (0.64 + 0.04)),
        (3, 0.7, 2, 0.027 / (0.343 + 0.027)),
        (1, 0.7, 4, 0.3),
        (2, 0.7, 4, 3 / 49 / (1 + 3 / 49)),
        (1, 0.7, 1, 0.0),
    ],
)
def test_the_error_of_a_margin(margin: int, right: float, classes: int, error: float) -> None:
    """By hand; with one vote it is the voter's own."""
    assert error_of_margin(margin, right, classes) == pytest.approx(error)


@pytest.mark.parametrize("labels", [[1, 1], [0, 1, 1, 1], [1, 2, 1, 1], [0, 1, 2, 1, 1]])
def test_the_bound_holds_for_a_posterior(labels: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of new voters who err each by itself, margin two: the posterior of whatever votes led there is no worse."""
    monkeypatch.setattr(belief, "TOGETHER", 1.0)
    votes = votes_for(*labels)
    assert accepts(Rule(margin=2), np.ones(3) / 3, votes)
    assert 1 - Beliefs(3).posterior(votes)[1] <= error_of_margin(2, 0.7, 3) + 1e-12


def test_two_classes_are_exact() -> None:
    """Simulated: voters right 7 times in 10, asked until one answer is two ahead."""
    rng = np.random.default_rng(1)
    wrong = 0
    for _ in range(4000):
        ahead = 0
        while abs(ahead) < 2:
            ahead += 1 if rng.random() < 0.7 else -1
        wrong += ahead < 0
    assert wrong / 4000 == pytest.approx(error_of_margin(2, 0.7, 2), abs=0.02)


def test_the_least_margin_for_an_error() -> None:
    """By hand: 1 / (1 + (7/3)^m) is 0.3, 0.155, 0.073, 0.033 for m = 1..4."""
    assert [margin_for(error, 0.7, 2) for error in (0.3, 0.2, 0.1, 0.05)] == [1, 2, 3, 4]
    for error, right, classes in ((0.1, 0.5, 2), (0.1, 0.2, 5), (0.0, 0.9, 2)):
        with pytest.raises(ValueError, match="no margin is enough"):
            margin_for(error, right, classes)
