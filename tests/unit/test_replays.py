"""Replays that are meant for some versions of a handler."""

from __future__ import annotations

import pytest

from manyhands import replays
from manyhands.backoff import LADDER


def test_a_replay_for_anybody_bears_nothing() -> None:
    """It is a suite like any other."""
    assert replays.headers(1.0) == {}
    assert replays.suits({}, "1")
    assert replays.suits({}, "")


def test_all_versions_but_one() -> None:
    """The one it failed with hands it on."""
    headers = replays.headers(1.0, unless="1")
    assert [replays.suits(headers, version) for version in ("1", "2", "")] == [False, True, True]


def test_one_version_only() -> None:
    """Every other hands it on."""
    headers = replays.headers(1.0, only="2")
    assert [replays.suits(headers, version) for version in ("1", "2", "")] == [False, True, False]


def test_it_waits_longer_the_longer_it_is_under_way() -> None:
    """Up to a day; after that nobody came."""
    headers = replays.headers(1000.0, unless="1")
    waits = [replays.rung(headers, 1000.0 + gone) for gone in (-60, 0, 19, 20, 500, 3000, 86_399, 86_400)]
    assert waits == [1, 1, 1, 5, 120, 600, 600, None]
    assert {wait for wait in waits if wait} <= set(LADDER)


@pytest.mark.parametrize("said", ["soon", None, [], "nan", "-inf"])
def test_a_time_that_is_none_is_long_past(said: object) -> None:
    """Whoever forged it makes nothing go round for ever."""
    assert replays.rung({replays.NOT_VERSION: "1", replays.REPLAYED_AT: said}, 5.0) is None
