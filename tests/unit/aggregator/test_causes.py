"""What letters have in common: the shape of an error."""

from __future__ import annotations

import time

import pytest

from manyhands_aggregator.causes import cause_id, shape

ALIKE = [
    ("invalid literal for int() with base 10: 'a b'", "invalid literal for int() with base 10: 'c!'"),
    ("no row 17 in part 3", "no row 4,096 in part 12"),
    ("timed out after 1.50 s", "timed out after 12.25 s"),
    ("item 5f1d2c3b4a596877 is gone", "item 0badcafe12345678 is gone"),
    ("GET /tasks/9b2fa7c0-1d3e-4c55-8a90-0011aabbccdd: 500", "GET /tasks/11111111-2222-4333-8444-555555555555: 502"),
    ("shape (3, 224, 224) is not (1)", "shape (12, 7) is not (5)"),
    ("<Item object at 0x7f0a12bc>", "<Item object at 0x55de0011>"),
    ('said "something long"', 'said "another thing"'),
    ("first line\nsecond 1", "first line\nanother"),
]
APART = [
    ("KeyError: 'width'", "KeyError: 'height'"),
    ("no column price", "no column size"),
    ("ValueError: too many", "TypeError: too many"),
]


@pytest.mark.parametrize(("one", "other"), ALIKE)
def test_numbers_ids_and_quoted_text_do_not_part(one: str, other: str) -> None:
    """They differ from task to task, and the cause is the same."""
    assert shape(one) == shape(other)
    assert cause_id("tasks", "error", one) == cause_id("tasks", "error", other)


@pytest.mark.parametrize(("one", "other"), APART)
def test_words_and_names_part(one: str, other: str) -> None:
    """They are what is to be mended."""
    assert cause_id("tasks", "error", one) != cause_id("tasks", "error", other)


def test_kind_and_code_part() -> None:
    """The same words of another code are another cause."""
    ids = {cause_id(kind, code, "it broke") for kind in ("tasks", "events") for code in ("error", "time-limit")}
    assert len(ids) == 4


def test_a_shape_can_be_read() -> None:
    """It is shown in the place of the error."""
    assert shape("task 12: can't read 'a b' at 0x7ffe12: KeyError: 'width'") == (
        "task #: can't read '…' at #: KeyError: 'width'"
    )
    assert shape("") == ""


@pytest.mark.parametrize(
    "error", ["a" * 100_000, "'" * 100_000, "1-" * 50_000, "#" * 100_000, "a1" * 50_000, "'a" * 50_000]
)
def test_no_error_takes_long(error: str) -> None:
    """Anybody may have written it."""
    began = time.process_time()
    assert len(shape(error)) <= 300
    assert time.process_time() - began < 0.5
