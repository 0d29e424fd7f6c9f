"""Accept rules as one word."""

from __future__ import annotations

import pytest
from typer.main import get_command

from manyhands_aggregator.truth.accept import Rule
from manyhands_aggregator.truth.policy import GENEROUS, PLENTY, SCARCE, SPARING, BadPolicy, parse
from manyhands_cli.main import app


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("confidence=0.95,at_most=7", Rule(confidence=0.95, at_most=7)),
        ("margin=2", Rule(margin=2)),
        (" agree = 2 ", Rule(agree=2)),
        ("adaptive", Rule(confidence=0.85, at_most=8)),
        ("margin=2,margin=3", Rule(margin=3)),
    ],
)
def test_what_a_policy_says(text: str, rule: Rule) -> None:
    """Keys with values, or a name."""
    assert parse(text) == rule


def test_a_name_may_be_changed_in_part() -> None:
    """What comes later counts."""
    assert parse("adaptive,confidence=0.5,at_most=4") == Rule(confidence=0.5, at_most=4)


@pytest.mark.parametrize(
    ("redundancy", "rule"),
    [
        (3, Rule(confidence=0.85, at_most=8)),
        (10, Rule(confidence=0.85, at_most=8)),
        (15, Rule(confidence=0.9, at_most=10)),
        (20, Rule(confidence=0.95, at_most=12)),
        (39, Rule(confidence=0.95, at_most=12)),
    ],
)
def test_adaptive_asks_more_where_more_is_to_be_had(redundancy: float, rule: Rule) -> None:
    """In a straight line between two bounds."""
    assert parse("adaptive", redundancy) == rule
    assert parse("adaptive,at_most=5", redundancy).at_most == 5


def test_the_help_says_what_the_named_one_is() -> None:
    """As it is."""
    policy = next(p for p in get_command(app).commands["replay"].params if p.name == "policy")  # type: ignore[attr-defined]
    for (confidence, at_most), stated in ((SPARING, f"{SCARCE} judgments or fewer"), (GENEROUS, f"{PLENTY} or more")):
        said = f"confidence={confidence},at_most={at_most}"
        assert parse(said) == Rule(confidence=confidence, at_most=at_most)
        assert said in policy.help
        assert stated in policy.help


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "'' is none of adaptive, confidence=…"),
        ("sure", "'sure' is none of"),
        ("margin", "'margin' is none of"),
        ("margin=2,confidence=1.5", "confidence must be between 0 and 1, not '1.5'"),
        ("confidence=nan", "not 'nan'"),
        ("margin=0", "margin must be a whole number from 1, not '0'"),
        ("at_most=2.5", "at_most must be a whole number"),
    ],
)
def test_what_is_not_right_is_named(text: str, said: str) -> None:
    """The part that is wrong, and what there is to choose from."""
    with pytest.raises(BadPolicy, match=said):
        parse(text)
