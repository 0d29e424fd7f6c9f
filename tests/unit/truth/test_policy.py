"""Accept rules as one word."""

from __future__ import annotations

import pytest
from typer.main import get_command

from manyhands_aggregator.truth.accept import Rule
from manyhands_aggregator.truth.policy import NAMED, BadPolicy, parse
from manyhands_cli.main import app


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("confidence=0.95,at_most=7", Rule(confidence=0.95, at_most=7)),
        ("margin=2", Rule(margin=2)),
        (" agree = 2 ", Rule(agree=2)),
        ("adaptive", NAMED["adaptive"]),
        ("margin=2,margin=3", Rule(margin=3)),
    ],
)
def test_what_a_policy_says(text: str, rule: Rule) -> None:
    """Keys with values, or a name."""
    assert parse(text) == rule


def test_a_name_may_be_changed_in_part() -> None:
    """What comes later counts."""
    assert parse("adaptive,confidence=0.5,at_most=4") == Rule(confidence=0.5, at_most=4)


def test_the_help_says_what_the_named_one_is() -> None:
    """As it is."""
    rule = NAMED["adaptive"]
    stated = f"confidence={rule.confidence},at_most={rule.at_most}"
    assert parse(stated) == rule
    policy = next(p for p in get_command(app).commands["replay"].params if p.name == "policy")  # type: ignore[attr-defined]
    assert f"adaptive, which is {stated} " in policy.help


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
