"""How a task that kills is found, so that it alone is set aside: decisions as functions of values.

A task that kills its child is found by the worker, which lives on, by giving the suite to fresh children in parts. One
that kills the worker itself (all memory of the machine, say) is found across deliveries: the suite comes again, and
is cut in halves that travel on their own.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from manyhands_worker.findings import Findings, Problem, problem_of
from manyhands_worker.frames import Part

#: Deaths alone in its child that convict a task. One may be chance: the machine's memory ran out for another's sake.
CONVICTION = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """How a child ended; ``hard`` when it was killed for taking too long, ``loading`` while it made a handler."""

    how: str
    label: str
    hard: bool = False
    loading: bool = False

    @property
    def problem(self) -> Problem:
        """What is said of the task that caused it."""
        return Problem(code="time-limit-hard" if self.hard else "child-died", message=self.how)


def parts(indices: Sequence[int], *, batch: bool) -> list[list[int]]:
    """The parts in which tasks are judged after they have killed a child together.

    One by one for a handler that gets them so: the first to die is the one. Halves for a batch handler, for which one
    by one could take many times as long.
    """
    if not batch:
        return [[i] for i in indices]
    middle = len(indices) // 2
    return [list(indices[:middle]), list(indices[middle:])]


def search(count: int, judge: Callable[[Sequence[int]], Part | Death], *, batch: bool) -> tuple[Findings, list[int]]:
    """Judge ``count`` tasks that killed a child together: the findings, and the indices of the killers.

    ``judge`` judges some of them, by index, in a child that lives; what it found is kept, however the others end. A
    task that takes too long alone is convicted at once: the limit is not chance, and waiting for it again is dear.
    """
    findings = Findings(values=[None] * count, confidences=[None] * count)
    deaths = dict.fromkeys(range(count), 0)
    killers: list[int] = []
    waiting = parts(range(count), batch=batch) if count > 1 else [[0]]
    waiting.reverse()
    while waiting:
        part = waiting.pop()
        said = judge(part)
        if isinstance(said, Part):
            _keep(findings, part, said)
        elif len(part) > 1:
            waiting.extend(reversed(parts(part, batch=batch)))
        else:
            deaths[part[0]] += 1
            if said.hard or deaths[part[0]] >= CONVICTION:
                findings.problems[part[0]] = said.problem
                killers.append(part[0])
            else:
                waiting.append(part)
    return findings, killers


def _keep(findings: Findings, part: Sequence[int], said: Part) -> None:
    assert findings.confidences is not None  # noqa: S101  told to the type checker: search() made the column
    for at, i in enumerate(part):
        findings.values[i] = said.values[at]
        if said.confidences is not None:
            findings.confidences[i] = said.confidences[at]
        if at in said.problems:
            findings.problems[i] = problem_of(said.problems[at])


class Receipt(enum.Enum):
    """What is done with a suite that is delivered."""

    JUDGE = "judge"
    SPLIT = "split"
    SET_ASIDE = "set aside"


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspicion:
    """How many deliveries make a suspect: of a whole suite, of a part of one; and how many convict a single task."""

    first: int
    part: int
    convict: int


def suspicion(max_deliveries: int, *, counts_hand_backs: bool) -> Suspicion:
    """From how many deliveries on a suite is suspected.

    A worker takes everything it holds with it, so two deaths are needed to suspect a suite, and one for a part of a
    suspect. Where the broker ``counts_hand_backs`` (RabbitMQ before 4.3) a worker that is stopped in all order raises
    the count as one that is killed does: a rolling restart must neither cut a suite nor convict a task. There it takes
    8 deliveries, 2 for a part of a suspect, and 15 for a task alone; at 20 the broker itself sets a suite aside.
    """
    if counts_hand_backs:
        return Suspicion(first=8, part=2, convict=max(15, max_deliveries))
    return Suspicion(first=2, part=1, convict=max_deliveries)


def receipt(tasks: int, delivery_count: int, carried: int, least: Suspicion) -> Receipt:
    """What to do with a suite of so many ``tasks``.

    ``delivery_count`` of its deliveries ended with their worker, and ``carried`` of the larger suites that it was cut
    from. A single task is set aside only after as many deliveries of its own as would make a whole suite suspect: what
    it carries its mate may have done.
    """
    if tasks > 1:
        return Receipt.SPLIT if delivery_count >= (least.part if carried else least.first) else Receipt.JUDGE
    if delivery_count >= least.first and delivery_count + carried >= least.convict:
        return Receipt.SET_ASIDE
    return Receipt.JUDGE
