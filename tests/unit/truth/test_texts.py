"""Texts: worked by hand, crowd-kit's ROVER where it is the same, and what no order or name may change."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from crowdkit.aggregation import ROVER
from hypothesis import given, settings
from hypothesis import strategies as st

from manyhands_aggregator.truth import rover, texts
from manyhands_aggregator.truth.plain import plain
from manyhands_aggregator.truth.texts import METHODS

word = st.sampled_from(["a", "b", "c", "the", "cat", "Cat", "sat."])
sentences = st.lists(st.lists(word, max_size=6).map(" ".join), min_size=1, max_size=6)


def test_exact_by_hand() -> None:
    """Two of four wrote it; of a tie the first in the order of characters wins, whoever wrote it."""
    assert texts.exact(["b", "a", "b", "B"]) == ("b", 0.5)
    assert texts.exact(["b", "a"]) == ("a", 0.5)


def test_normalised_by_hand() -> None:
    """Case, spaces, punctuation and the width of letters do not count; it stands as most have written it."""
    said = ["Main St.", "main  st", "Main St.", "MAIN\u00a0ST", "\uff2dain Street"]
    assert texts.normalised(said) == ("Main St.", 0.8)
    assert plain("  \uff2d\ufb01ne\u00a0 STRASSE, Stra\u00dfe! ") == "mfine strasse strasse"


def test_rover_by_hand() -> None:
    """Three texts, each with a mistake of its own, make one without: six slots are won by 15 of 18 votes."""
    said = ["the cat sat on mat", "the cat sit on the mat", "cat sat on the mat"]
    assert texts.rover(said)[0] == "the cat sat on the mat"
    slots = rover.network([one.split() for one in said])
    assert slots == [
        {"the": 2, "": 1}, {"cat": 3}, {"sat": 2, "sit": 1}, {"on": 3}, {"": 1, "the": 2}, {"mat": 3},
    ]  # fmt: skip
    won, share = rover.vote(slots)
    assert " ".join(won) == "the cat sat on the mat"
    assert share == pytest.approx((2 + 3 + 2 + 3 + 2 + 3) / 18)


def test_rover_spells_as_most_do() -> None:
    """Words are compared in their plain form; what nobody is sure of is left out."""
    text, share = texts.rover(["Hello, world", "hello world", "Hello, word"])
    assert (text, round(share, 6)) == ("Hello, world", round(5 / 6, 6))
    assert texts.rover(["", "", "a"])[0] == ""
    assert texts.rover([""]) == ("", 1.0)
    assert texts.rover(["-", "- -"])[0] == "- -"  # a tie goes to the word


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(st.sampled_from("abcde"), min_size=1, max_size=7), min_size=1, max_size=5))
def test_the_network_is_that_of_crowd_kit(said: list[list[str]]) -> None:
    """In the same order, the same slots and the same votes."""
    theirs: Any = ROVER(str.split, " ".join)
    slots = theirs._build_word_transition_network(said)
    ours = rover.network(said)
    assert ours == [{name: edge.sources_count for name, edge in slot.items()} for slot in slots]
    frame = pd.DataFrame({"task": 0, "worker": range(len(said)), "text": [" ".join(one) for one in said]})
    assert " ".join(rover.vote(ours)[0]) == theirs.fit_predict(frame)[0]


@pytest.mark.parametrize("name", METHODS)
@settings(max_examples=60, deadline=None)
@given(said=sentences, lot=st.randoms(use_true_random=False))
def test_order_changes_nothing(name: str, said: list[str], lot: Any) -> None:
    """Who writes what, and which comes first, is no matter; nor is the number of the task."""
    mixed = list(said)
    lot.shuffle(mixed)
    one = texts.written(np.zeros(len(said), np.int32), said, tasks=1, rule=METHODS[name])
    other = texts.written(np.full(len(said), 2, np.int32), mixed, tasks=3, rule=METHODS[name])
    assert other.texts == [None, None, *one.texts]
    assert other.confidence.tolist() == [0, 0, one.confidence[0]]
    assert 0 < one.confidence[0] <= 1


@pytest.mark.parametrize("name", METHODS)
@settings(max_examples=60, deadline=None)
@given(said=sentences)
def test_one_more_who_writes_the_answer_raises_its_confidence(name: str, said: list[str]) -> None:
    """And keeps the answer: this is what a vote promises. Of ROVER, once all words that won are in it."""
    text, before = METHODS[name](said)
    again, after = METHODS[name]([*said, text])
    if name != "rover":
        assert again == text
        assert after >= before
    many = METHODS[name]([*said, *[text] * (len(said) + 1)])
    assert plain(many[0]) == plain(text)


@given(sentences)
def test_what_all_write_is_the_answer(said: list[str]) -> None:
    """Alone or many times, it is sure."""
    for rule in METHODS.values():
        assert rule([said[0]] * 3)[1] == 1.0
        assert rule([said[0]] * 3)[0].split() == said[0].split()
