"""A handler over the tasks of a suite: one bad task never costs another. Pure but for the handler and its time limit.

A *judge* here is a callable of positions and payloads that returns a list as long: for each task a value, a
``Judgment``, or the exception that it ended with. Functions, classes, programs and URLs all become one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import msgpack

from manyhands.errors import ManyhandsError, RetryTask
from manyhands.handlers import Judgment
from manyhands.messages import WORKER_ID
from manyhands.outcome import BLAMELESS
from manyhands_worker.limits import within

T = TypeVar("T")


class NoJudgment(ManyhandsError):
    """The judge gave no judgment that can be used."""


class Judge(Protocol):
    """Judges the tasks of one suite."""

    def __call__(self, positions: Sequence[int], payloads: Sequence[Any], /) -> list[Any]:
        """For each task its value, a ``Judgment``, or the exception it ended with."""


#: What concerns all tasks of a call alike: asking again with fewer of them would only hammer at what is away.
COMMON = (RetryTask, *BLAMELESS)


def each(call: Callable[[Any], Any]) -> Judge:
    """The judge that calls a handler once for each task."""

    def judge(_positions: Sequence[int], payloads: Sequence[Any]) -> list[Any]:
        said: list[Any] = []
        say = said.append
        rest = iter(payloads)
        while True:
            # one try around the loop and not one in it; after an exception the loop goes on behind its task
            try:
                for payload in rest:
                    say(call(payload))
                return said
            except BaseException as error:  # noqa: BLE001  even sys.exit() in a handler fails its task alone
                say(error)

    return judge


def each_within(call: Callable[[Any], Any], limit: float) -> Judge:
    """The same with a time limit in seconds for each task."""

    def judge(_positions: Sequence[int], payloads: Sequence[Any]) -> list[Any]:
        said: list[Any] = []
        for payload in payloads:
            try:
                with within(limit):
                    value = call(payload)
            except BaseException as error:  # noqa: BLE001  as above
                value = error
            said.append(value)
        return said

    return judge


def batch(call: Callable[[list[Any]], Any], limit: float | None, patience: float) -> Judge:
    """The judge that calls a batch handler, and when it raises halves the batch until only the culprits are left.

    After ``patience`` seconds it halves no more: what is left shares the error, and comes again in a smaller suite.
    """

    def once(payloads: Sequence[Any]) -> list[Any]:
        if limit is None:
            said = call(list(payloads))
        else:
            with within(limit):
                said = call(list(payloads))
        listed = said.tolist() if hasattr(said, "tolist") else list(said)
        if len(listed) != len(payloads):
            raise NoJudgment(f"it returned {len(listed)} judgments for {len(payloads)} tasks")
        return listed

    def judge(_positions: Sequence[int], payloads: Sequence[Any]) -> list[Any]:
        return halving(once, payloads, COMMON, time.monotonic() + patience)

    return judge


def halving(
    call: Callable[[Sequence[Any]], list[Any]],
    items: Sequence[Any],
    common: tuple[type[BaseException], ...],
    until: float,
) -> list[Any]:
    """What ``call`` returns for the items; where it raises, what it returns for each half of them, and so on.

    An exception that is ``common`` to all, or comes after ``until`` (of ``time.monotonic``), is said of every item.
    """
    try:
        return call(items)
    except BaseException as error:  # noqa: BLE001  even sys.exit() in a handler costs its task alone
        if len(items) == 1 or isinstance(error, common) or time.monotonic() > until:
            return [error] * len(items)
    middle = len(items) // 2
    return halving(call, items[:middle], common, until) + halving(call, items[middle:], common, until)


class Sorted(NamedTuple):
    """Columns of values, confidences, costs and people (None where nobody has one), and the exceptions by index."""

    values: list[Any]
    confidences: list[float | None] | None
    errors: dict[int, BaseException]
    costs: list[float | None] | None = None
    workers: list[str | None] | None = None


def sort(said: list[Any]) -> Sorted:
    """Part what a judge said into values, confidences, costs, people (None where nobody has one) and exceptions.

    A confidence that is no number from 0 to 1 is an exception of its task, and so is a cost that is none from 0. The
    usual cases, only values or only judgments, are settled on the set of types: some 50 ns a task.
    """
    kinds = set(map(type, said))
    if kinds == {Judgment}:
        values, confidences, costs, workers = map(list, zip(*said, strict=True))
        if _proper(confidences) and costs.count(None) == workers.count(None) == len(costs):
            return Sorted(values, confidences, {})
    elif not any(issubclass(kind, (Judgment, BaseException)) for kind in kinds):
        return Sorted(said, None, {})
    return _sort_each(said)


def _sort_each(said: list[Any]) -> Sorted:
    values: list[Any] = [None] * len(said)
    confidences: list[float | None] = [None] * len(said)
    costs: list[float | None] = [None] * len(said)
    workers: list[str | None] = [None] * len(said)
    errors: dict[int, BaseException] = {}
    for i, one in enumerate(said):
        if isinstance(one, BaseException):
            errors[i] = one
        elif not isinstance(one, Judgment):
            values[i] = one
        else:
            try:
                confidences[i] = _number(one.confidence, 1, "confidence")
                costs[i] = _number(one.cost, math.inf, "cost")
                workers[i] = _person(one.worker)
                values[i] = one.value
            except NoJudgment as error:
                confidences[i], errors[i] = None, error
    return Sorted(values, _stated(confidences), errors, _stated(costs), _stated(workers))


def _person(worker: Any) -> str | None:
    if worker is None or (isinstance(worker, str) and worker and WORKER_ID.fullmatch(worker) is not None):
        return worker
    raise NoJudgment(f"the worker {worker!r:.80} is no id of 1 to 200 characters, none of them a control character")


def _number(stated: Any, most: float, what: str) -> float | None:
    if stated is None:
        return None
    try:
        number = float(stated)
    except (TypeError, ValueError):
        number = math.nan
    if 0 <= number <= most and number < math.inf:
        return number
    raise NoJudgment(f"the {what} {stated!r} is no number from 0{f' to {most:g}' if most < math.inf else ''}")


def _stated(column: list[T | None]) -> list[T | None] | None:
    return None if column.count(None) == len(column) else column


def _proper(confidences: list[Any]) -> bool:
    """Whether all are floats from 0 to 1; a NaN shows in the sum, for it hides from min and max."""
    return (
        set(map(type, confidences)) == {float}
        and min(confidences) >= 0
        and max(confidences) <= 1
        and not math.isnan(sum(confidences))
    )


def packable(values: list[Any]) -> dict[int, BaseException]:
    """Make a column of values plain, in place: NumPy's scalars and arrays become Python's.

    Returns the exceptions, by index, of values that cannot be made so. Slow; only called when packing has failed.
    """
    errors: dict[int, BaseException] = {}
    for i, value in enumerate(values):
        try:
            values[i] = msgpack.unpackb(msgpack.packb(value, default=_plain), strict_map_key=False)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            values[i] = None
            errors[i] = NoJudgment(f"its value cannot be sent: {error}")
    return errors


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):  # NumPy's scalars have it as well as its arrays, and so have other libraries'
        return value.tolist()
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"{type(value).__name__} is no plain value")
