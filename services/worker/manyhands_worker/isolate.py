"""How a task that kills is found, so that it alone is set aside: decisions as functions of values.

A task that kills its child is found by the worker, which lives on, by giving the suite to fresh children in parts. One
that kills the worker itself (all memory of the machine, say) is found across deliveries. A delivery count alone is no
evidence, for it is raised of whatever a dying worker holds: so a suite that is suspected is put on trial. It goes to a
queue of its own, where holding it means judging it and nothing else; what the worker dies of then is in it.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from manyhands_worker.findings import Findings, Problem, problem_of
from manyhands_worker.frames import Part

#: Deaths alone in its child that convict a task. Two may be chance: the machine's memory ran out for another's sake, or
#: somebody ends processes at random (seen in a drill that kills a child every few seconds). A third costs a new child.
CONVICTION = 3
#: Deliveries of a suite that came back before it is suspected; where hand-backs count, restarts do this as well, and
#: then a trial costs an innocent suite next to nothing.
SUSPECT_FROM = 3
#: Deaths of workers, on trial and alone, that convict a task; and how many more where hand-backs count as deaths do.
WORKERS, HAND_BACKS = 3, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """How a child ended; ``hard`` when it was killed for taking too long, ``loading`` while it made a handler.

    ``exit`` is the signal or the status that it ended with, ``peak_mib`` the most memory that it ever held, ``at`` the
    time in seconds since 1970.
    """

    how: str
    label: str
    hard: bool = False
    loading: bool = False
    exit: str = ""
    peak_mib: int = 0
    at: float = 0.0

    def problem(self, history: Sequence[str] = ()) -> Problem:
        """What is said of the task that caused it; ``history`` has a line for each death that it took part in."""
        code = "time-limit-hard" if self.hard else "child-died"
        return Problem(
            code=code, message=self.how, exit=self.exit, memory_mib=self.peak_mib, history=tuple(history),
            tries=max(1, len(history)),
        )  # fmt: skip


#: Tells of a death over so many tasks, for the history.
Tell = Callable[[Death, int], str]


def parts(indices: Sequence[int], *, batch: bool) -> list[list[int]]:
    """The parts in which tasks are judged after they have killed a child together.

    One by one for a handler that gets them so: the first to die is the one. Halves for a batch handler, for which one
    by one could take many times as long.
    """
    if not batch:
        return [[i] for i in indices]
    middle = len(indices) // 2
    return [list(indices[:middle]), list(indices[middle:])]


def search(
    count: int,
    judge: Callable[[Sequence[int]], Part | Death],
    *,
    batch: bool,
    first: Death | None = None,
    tell: Tell = lambda death, tasks: f"{death.how} (tasks: {tasks})",
) -> tuple[Findings, list[int]]:
    """Judge ``count`` tasks that killed a child together: the findings, and the indices of the killers.

    ``judge`` judges some of them, by index, in a child that lives; what it found is kept, however the others end. A
    task that takes too long alone is convicted at once: the limit is not chance, and waiting for it again is dear.
    ``first`` is the death that began it.
    """
    nobody: list[Any] = [None] * count
    findings = Findings(values=[*nobody], confidences=[*nobody], costs=[*nobody], workers=[*nobody])
    alone = dict.fromkeys(range(count), 0)
    histories: dict[int, list[str]] = {i: [tell(first, count)] if first else [] for i in range(count)}
    killers: list[int] = []
    waiting = parts(range(count), batch=batch) if count > 1 else [[0]]
    waiting.reverse()
    while waiting:
        part = waiting.pop()
        said = judge(part)
        if isinstance(said, Part):
            _keep(findings, part, said)
            continue
        for i in part:
            histories[i].append(tell(said, len(part)))
        if len(part) > 1:
            waiting.extend(reversed(parts(part, batch=batch)))
            continue
        (i,) = part
        alone[i] += 1
        if said.hard or alone[i] >= CONVICTION:
            findings.problems[i] = said.problem(histories[i])
            killers.append(i)
        else:
            waiting.append(part)
    if findings.costs is not None and findings.costs.count(None) == count:
        findings.costs = None
    if findings.workers is not None and findings.workers.count(None) == count:
        findings.workers = None
    return findings, killers


def _keep(findings: Findings, part: Sequence[int], said: Part) -> None:
    assert findings.confidences is not None  # noqa: S101  told to the type checker: search() made the columns
    assert findings.costs is not None  # noqa: S101  the same
    assert findings.workers is not None  # noqa: S101  the same
    for at, i in enumerate(part):
        findings.values[i] = said.values[at]
        if said.confidences is not None:
            findings.confidences[i] = said.confidences[at]
        if said.costs is not None:
            findings.costs[i] = said.costs[at]
        if said.workers is not None:
            findings.workers[i] = said.workers[at]
        if at in said.problems:
            findings.problems[i] = problem_of(said.problems[at])


class Receipt(enum.Enum):
    """What is done with a suspect that is delivered."""

    TRY = "try"
    NOTE = "note"
    SPLIT = "split"
    SET_ASIDE = "set aside"


def receipt(tasks: int, deaths: int, alone: int, *, counts_hand_backs: bool) -> Receipt:
    """What to do with a suspect of so many ``tasks``.

    ``deaths`` of its deliveries came back since it was put into the queue, each of them on trial; ``alone`` before
    that, when it was a single task already. Where the broker ``counts_hand_backs`` (RabbitMQ before 4.3) a worker that
    is stopped in all order raises the count as one that is killed does, so that it takes more of them: rolling restarts
    must convict nobody.
    """
    if not deaths:
        return Receipt.TRY
    if tasks > 1:
        return Receipt.SPLIT
    convicted = deaths + alone >= WORKERS + (HAND_BACKS if counts_hand_backs else 0)
    return Receipt.SET_ASIDE if convicted else Receipt.NOTE
