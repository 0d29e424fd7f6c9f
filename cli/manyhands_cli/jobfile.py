"""A job file and the judges that it names, checked before anything is begun."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from manyhands import spec as specs
from manyhands.errors import SpecError


def read(file: Path, handlers: str | None, without: Collection[str] | None = ()) -> specs.JobSpec:
    """The job of a file; every judge of its plan is a handler, a command, a URL or a model.

    Those ``without`` need not be; None: nobody need, and the handlers are not even loaded.

    Raises:
        HandlerError: the handlers cannot be loaded.
        SpecError: names what is wrong with the file; or the judge that is missing, its line, and the judges there are.
    """
    from manyhands.handlers import load

    spec = specs.load(file)
    if spec.source is None:
        raise SpecError(
            f"{specs.where(file)}: source: this key is missing; a job without it gets its tasks over the API"
        )
    if without is None:
        return spec
    registered = [name for reference in references(spec, handlers) for name in load(reference)]
    known = {*registered, *without, *spec.commands, *spec.http, *(spec.llm or ())}
    for number, stage in enumerate(spec.stages):
        for index, judge in enumerate(stage.judges):
            if judge.judge not in known:
                line = specs.where(file, "stages", number, "judges", index)
                there = ", ".join(sorted(known)) or "none; give --handlers or the key handlers"
                raise SpecError(
                    f"{line}: stages.{number}.judges.{index}: no handler is called {judge.judge!r}; there are: {there}"
                )
    return spec


def references(spec: specs.JobSpec, handlers: str | None) -> list[str]:
    """Where the handlers of a job are: what ``--handlers`` says, in the place of the job file's key."""
    return [reference for reference in (handlers or spec.handlers,) if reference]
