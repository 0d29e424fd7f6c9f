"""What a child offers: its judges by name, each made when first needed and kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from manyhands import handlers
from manyhands.errors import HandlerError
from manyhands.handlers import Handler
from manyhands_worker.frames import Setup
from manyhands_worker.judging import Judge, batch, each, each_within

#: Share of the hard limit within which culprits are looked for by halving; the rest of it is for one last slow call.
PATIENCE = 0.5

#: Told of a process group as it starts (True), and when it has ended (False).
Groups = Callable[[int, bool], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A judge that can be made: ``batch`` says whether it wants many tasks at once."""

    version: str
    batch: bool
    make: Callable[[], Judge]


def offers(setup: Setup, groups: Groups) -> dict[str, Offer]:
    """Import the handlers and read the configured judges; ``groups`` is told of the process groups that they start.

    Raises:
        HandlerError: a module fails, a judge that is to be served is not there, or one is there twice.
    """
    found: dict[str, Offer] = {}
    registered: dict[str, Handler] = {}
    for reference in setup.references:
        registered = handlers.load(reference)
    patience = setup.hard_limit * PATIENCE
    for name, handler in registered.items():
        found[name] = Offer(version=handler.version, batch=handler.batch, make=_python(handler, patience))
    kinds: dict[str, Callable[[str, Any], Callable[[], Judge]]] = {
        "commands": lambda _name, config: _command(config, patience, groups),
        "http": lambda name, config: _http(name, config, patience),
        "llm": lambda name, config: _llm(name, config, patience, setup.children),
    }
    for kind, made in kinds.items():
        configured: Mapping[str, Mapping[str, Any]] = getattr(setup, kind)
        for name, config in configured.items():
            if name in found:
                raise HandlerError(f"the judge {name!r} of {kind} is defined twice")
            # one that is not served need not have its secrets here
            if not setup.judges or name in setup.judges:
                found[name] = Offer(version=config["version"], batch=True, make=made(name, config))
    known = {*found, *setup.commands, *setup.http, *setup.llm}
    missing = [name for name in setup.judges if name not in known]
    if missing:
        raise HandlerError(f"there is no judge {', '.join(missing)}; there are {', '.join(sorted(known)) or 'none'}")
    if not found:
        raise HandlerError("there is no judge; name handlers with --handlers or MANYHANDS_HANDLERS")
    return {name: offer for name, offer in found.items() if not setup.judges or name in setup.judges}


def make(name: str, offer: Offer) -> Judge:
    """The judge of an offer.

    Raises:
        HandlerError: it cannot be made: whatever an author's class raises, in one sentence.
    """
    try:
        return offer.make()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # even sys.exit() in a class is not for us to obey
        raise HandlerError(f"the judge {name} could not be made: {type(error).__name__}: {error}") from error


def _python(handler: Handler, patience: float) -> Callable[[], Judge]:
    def make() -> Judge:
        call = handler.target() if isinstance(handler.target, type) else handler.target
        if handler.batch:
            return batch(call, handler.time_limit, patience)
        return each(call) if handler.time_limit is None else each_within(call, handler.time_limit)

    return make


def _command(config: Any, patience: float, groups: Groups) -> Callable[[], Judge]:
    def make() -> Judge:
        from manyhands_worker.command import Command

        return Command(config["command"], config["folder"], config.get("time_limit"), patience, groups)

    return make


def _http(name: str, config: Any, patience: float) -> Callable[[], Judge]:
    # httpx takes a while to import: only who uses it pays for it, and at the start, where a header can still be refused
    from manyhands_worker.http import Http

    judge = Http(name, config["url"], config["headers"], config["time_limit"], patience)
    return lambda: judge


def _llm(name: str, config: Any, patience: float, children: int) -> Callable[[], Judge]:
    # as for http
    from manyhands.spec import Answer, Llm
    from manyhands_worker.llm.judge import LlmJudge

    llm, answer = Llm.model_validate(config["llm"]), Answer.model_validate(config["answer"])
    judge = LlmJudge(name, llm, config["question"], answer, share=1 / children, patience=patience)
    return lambda: judge
