"""CSV files of judgments (``task,worker,label``) and of truths (``task,label``), for commands without any service."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from manyhands_cli.table import BadTable, read_rows

if TYPE_CHECKING:  # numpy takes its time to import
    from manyhands_aggregator.truth.ballots import Ballots, Ints
    from manyhands_aggregator.truth.pairs import Pairs

#: What a truth file may call its second column; beside a truth, a label is what somebody said.
TRUTH = ("label", "answer", "truth")


@dataclass(slots=True)
class Judged:
    """A file of judgments: ``ballots`` in numbers, and the names that the numbers stand for.

    ``labels`` are in order (as numbers if all of them are numbers), so that the order of the rows changes nothing that
    depends on it; ``bad`` has a sentence for each row that was left out, and ``repeated`` counts those that only say
    again what was said.
    """

    ballots: Ballots
    tasks: list[str]
    workers: list[str]
    labels: list[str]
    bad: list[str] = field(default_factory=list)
    repeated: int = 0


@dataclass(slots=True)
class Compared:
    """A file of comparisons: ``pairs`` in numbers, and the items (``tasks``) that the numbers stand for."""

    pairs: Pairs
    tasks: list[str]
    bad: list[str] = field(default_factory=list)


def read_answers(path: Path, wrong: Callable[[str], str | None] | None = None) -> Judged:
    """Read a file of judgments; rows that cannot be used are left out and named in ``bad``.

    A worker judges a task once: of several rows the first counts. ``wrong`` says what is wrong with a label, or None.

    Raises:
        BadTable: it is no CSV with these columns, or no row of it can be used.
        OSError: it cannot be read.
    """
    import numpy as np

    from manyhands_aggregator.truth.ballots import Ballots

    tasks: dict[str, int] = {}
    workers: dict[str, int] = {}
    labels: dict[str, int] = {}
    columns = array("i"), array("i"), array("i")
    said: dict[int, int] = {}
    bad: list[str] = []
    repeated = 0
    for line, (task, worker, label) in read_rows(path, (("task",), ("worker",), ("label",)), bad):
        if wrong is not None and (why := wrong(label)) is not None:
            bad.append(f"line {line}: {why}")
            continue
        t = tasks.setdefault(task, len(tasks))
        w = workers.setdefault(worker, len(workers))
        before = said.get(t << 32 | w)
        if before is None:
            k = said[t << 32 | w] = labels.setdefault(label, len(labels))
            for column, value in zip(columns, (t, w, k), strict=True):
                column.append(value)
        elif before == labels.get(label):
            repeated += 1
        else:
            bad.append(f"line {line}: worker {worker!r} had said otherwise of task {task!r}")
    if not said:
        raise BadTable(f"{path}: no row of it can be used" + (f"; {bad[0]}" if bad else ""))
    order = sorted(labels, key=_by_number(labels))
    place = np.empty(len(order), np.int32)
    place[[labels[label] for label in order]] = np.arange(len(order))
    of_task, of_worker, of_label = (np.array(column, np.int32) for column in columns)
    ballots = Ballots(of_task, of_worker, place[of_label], len(tasks), len(workers), len(labels))
    return Judged(ballots, list(tasks), list(workers), order, bad, repeated)


def read_truth(path: Path, judged: Judged) -> tuple[Ints, list[str]]:
    """The truth of each judged task, shape (T,): the number of its label, -1 if unknown; and what rows were left out.

    A label that nobody gave has a number that no label has, so nothing is equal to it.

    Raises:
        BadTable: it is no CSV with these columns, it has none of the tasks, or two truths of one.
        OSError: it cannot be read.
    """
    import numpy as np

    labels = {label: number for number, label in enumerate(judged.labels)}
    known, bad = read_truths(path, judged)
    truth = np.full(len(judged.tasks), -1, np.int32)
    for place, label in known.items():
        truth[place] = labels.setdefault(label, len(labels))
    return truth, bad


def read_truths(path: Path, judged: Judged | Compared, what: str = "task") -> tuple[dict[int, str], list[str]]:
    """The truths of judged tasks (or of items, by the name of the column) as they stand there, by number; bad rows.

    Raises:
        BadTable: it is no CSV with these columns, it has none of the tasks, or two truths of one.
        OSError: it cannot be read.
    """
    places = {task: place for place, task in enumerate(judged.tasks)}
    known: dict[int, str] = {}
    bad: list[str] = []
    for line, (task, label) in read_rows(path, ((what,), TRUTH), bad):
        place = places.get(task)
        if place is None:
            continue  # a truth of what nobody judged
        if known.setdefault(place, label) != label:
            raise BadTable(f"{path}, line {line}: {what} {task!r} has two truths")
    if not known:
        raise BadTable(f"{path}: it has the truth of no {what} that was judged" + (f"; {bad[0]}" if bad else ""))
    return known, bad


def read_pairs(path: Path) -> Compared:
    """Read a file of comparisons: worker, left, right, and the label, which is the better of the two.

    Raises:
        BadTable: it is no CSV with these columns, or no row of it can be used.
        OSError: it cannot be read.
    """
    from manyhands_aggregator.truth.pairs import Pairs

    items: dict[str, int] = {}
    workers: dict[str, int] = {}
    columns: tuple[list[int], ...] = [], [], [], []
    bad: list[str] = []
    names = (("worker",), ("left",), ("right",), ("label",))
    for line, (worker, left, right, label) in read_rows(path, names, bad):
        if left == right or label not in (left, right):
            bad.append(f"line {line}: {label!r} is not one of two items")
            continue
        one, other = (items.setdefault(item, len(items)) for item in (left, right))
        by = workers.setdefault(worker, len(workers))
        for column, value in zip(columns, (one, other, int(label == left), by), strict=True):
            column.append(value)
    if not items:
        raise BadTable(f"{path}: no row of it can be used" + (f"; {bad[0]}" if bad else ""))
    return Compared(Pairs.of(*columns), list(items), bad)


def _by_number(labels: Mapping[str, int]) -> type[float] | type[str]:
    try:
        return float if not any(float(label) != float(label) for label in labels) else str
    except ValueError:
        return str
