"""Errors: their text is their docstring, and what is particular follows."""

from __future__ import annotations

import pytest

from manyhands import errors
from manyhands.errors import BrokerError, DecodeError, ManyhandsError, RetryTask

KINDS = [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, ManyhandsError)]


@pytest.mark.parametrize("kind", [k for k in KINDS if k is not DecodeError], ids=lambda k: k.__name__)
def test_text(kind: type[ManyhandsError]) -> None:
    """An error without a detail is its sentence; with one, the detail follows a colon."""
    sentence = (kind.__doc__ or "").splitlines()[0]
    assert sentence.endswith(".")
    assert str(kind()) == sentence
    assert str(kind("this one")) == f"{sentence[:-1]}: this one"
    assert kind("this one").detail == "this one"


def test_what_they_carry() -> None:
    """A decode error keeps the bytes, a retry its least delay."""
    assert DecodeError("torn", b"\x00").body == b"\x00"
    assert RetryTask("busy", after=3).after == 3
    assert RetryTask().after is None


def test_broker_errors() -> None:
    """Whoever waits for a confirm catches one class."""
    names = ("BrokerUnavailable", "Unroutable", "Refused", "TopologyConflict")
    assert all(issubclass(getattr(errors, name), BrokerError) for name in names)
