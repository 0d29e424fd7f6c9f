"""Exit codes, and errors as one sentence."""

from __future__ import annotations

import pytest

from manyhands import errors
from manyhands_cli.errors import FolderTaken, NotThere, RequestRefused, ServiceAway
from manyhands_cli.exits import MEANING, Exit, code_of, sentence

CODES = [
    (errors.SpecError("x"), Exit.INPUT),
    (errors.SourceError("x"), Exit.INPUT),
    (errors.HandlerError("x"), Exit.INPUT),
    (errors.SettingsError("x"), Exit.INPUT),
    (RequestRefused("x"), Exit.INPUT),
    (FolderTaken("x"), Exit.INPUT),
    (errors.BrokerUnavailable("x"), Exit.AWAY),
    (errors.TopologyConflict("x"), Exit.AWAY),
    (errors.StoreUnavailable("connection refused"), Exit.AWAY),
    (ServiceAway("x"), Exit.AWAY),
    (errors.UnknownJob("x"), Exit.UNKNOWN),
    (NotThere("x"), Exit.UNKNOWN),
    (errors.StoreUnavailable("database or disk is full"), Exit.SYSTEM),
    (errors.StoreUnavailable("attempt to write a readonly database"), Exit.SYSTEM),
    (OSError(28, "No space left on device"), Exit.SYSTEM),
    (PermissionError(13, "Permission denied", "/x"), Exit.SYSTEM),
]


@pytest.mark.parametrize(("error", "code"), CODES, ids=lambda value: repr(value)[:60])
def test_each_error_has_its_code(error: Exception, code: Exit) -> None:
    """What is to be expected is said in one sentence and ends with its code."""
    assert code_of(error) is code
    assert "\n" not in sentence(error)


def test_a_bug_is_not_hidden() -> None:
    """Anything else deserves its traceback."""
    assert code_of(ValueError("x")) is None
    assert code_of(KeyError("x")) is None


def test_every_code_is_explained() -> None:
    """The documentation has a meaning for each."""
    assert set(MEANING) == set(Exit)


def test_an_error_of_the_machine_names_the_file() -> None:
    """The system's own words, and which file."""
    assert sentence(PermissionError(13, "Permission denied", "/x/y")) == "Permission denied: /x/y"
    assert sentence(OSError(28, "No space left on device")) == "No space left on device"


def test_what_is_not_there_is_said_in_the_services_words() -> None:
    """No second sentence is put before the service's own."""
    assert str(NotThere("There is no such dead letter: 'x'")) == "There is no such dead letter: 'x'"
