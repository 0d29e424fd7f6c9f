"""A job file and the judges that it names, checked before anything is begun."""

from __future__ import annotations

from pathlib import Path

from manyhands import spec as specs
from manyhands.errors import SpecError


def read(file: Path, handlers: str | None) -> specs.JobSpec:
    """The job of a file; every judge of its plan is a handler, a command or a URL.

    Raises:
        HandlerError: the handlers cannot be loaded.
        SpecError: names what is wrong with the file; or the judge that is missing, its line, and the judges there are.
    """
    from manyhands.handlers import load

    spec = specs.load(file)
    reference = handlers or spec.handlers
    known = {*(load(reference) if reference else ()), *spec.commands, *spec.http}
    for judge in spec.judges:
        if judge.judge not in known:
            line = next((n for n, text in enumerate(file.read_text().splitlines(), 1) if judge.judge in text), 1)
            there = ", ".join(sorted(known)) or "none; give --handlers or the key handlers"
            raise SpecError(f"{file}:{line}: stages.0.judges: no handler is called {judge.judge!r}; there are: {there}")
    return spec
