"""The paths that the command line asks for."""

from __future__ import annotations

import pytest

from manyhands.errors import UnknownJob
from manyhands_cli.paths import of_job


def test_of_job() -> None:
    """A job's id stands in the path as it is."""
    assert of_job("digits-1f00ba11", "/audit") == "/api/jobs/digits-1f00ba11/audit"


@pytest.mark.parametrize("name", ["..", "a/b", "", "Weird Id", "a?b", "a\n"])
def test_no_other_path(name: str) -> None:
    """What can be no job's id leads nowhere."""
    with pytest.raises(UnknownJob, match="manyhands status"):
        of_job(name)
