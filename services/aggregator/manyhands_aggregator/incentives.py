"""What people have earned, as a ledger that is only ever added to; pure, in whole millionths of the currency.

What is due for a person's part of a slot is a function of what was judged there and of what became of it. The ledger
gets the difference between what is due and what it has under that key already: nothing the second time, a correction
where an answer was accepted later or is another now. So messages may come twice, late and in any order: the sums are
those of the facts, and no entry is ever changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from operator import add, sub
from typing import Any, Literal, NamedTuple

from manyhands.messages import Judgments
from manyhands.spec.rewards import Rewards

#: Parts of one unit of the currency.
MICRO = 1_000_000
#: Milliseconds that one piece of work is taken to last at most, a month: a clock may say anything, and the sums must
#: stay within 64 bits.
LONGEST = 30 * 86_400_000
#: Stands in a key for what concerns the job as a whole.
WHOLE = -1

Kind = Literal["judgment", "gold", "agreement", "penalty", "cap"]


def micro(amount: Decimal) -> int:
    """An amount in millionths.

    Raises:
        ValueError: it is no whole number of them.
    """
    scaled = amount * MICRO
    if scaled != int(scaled):
        raise ValueError(f"{amount} is finer than a millionth")
    return int(scaled)


def plain(amount: int) -> Decimal:
    """Millionths as an amount."""
    return Decimal(amount).scaleb(-6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The rewards of a job file in millionths."""

    judgment: int
    gold: int = 0
    agreement: int = 0
    penalty: int = 0
    per_person: int | None = None
    per_job: int | None = None
    floor: int | None = None
    share: float | None = None

    @classmethod
    def of(cls, rewards: Rewards) -> Rules:
        """The rules of a job."""
        said = {name: getattr(rewards, name) for name in type(rewards).model_fields}
        return cls(**{name: micro(value) if isinstance(value, Decimal) else value for name, value in said.items()})

    @property
    def most(self) -> int:
        """What one judgment may come to."""
        return self.judgment + max(self.gold, self.agreement)


class Key(NamedTuple):
    """What an entry is for: a person's part of a slot of a suite, and the kind of reward.

    An entry of the kind ``cap`` concerns the job as a whole: suite, stage and slot are -1, and the judge is empty.
    """

    job: str
    suite: int
    stage: int
    judge: str
    slot: int
    worker: str
    kind: Kind


class Sum(NamedTuple):
    """What is due or paid: an ``amount`` in millionths, for how many ``tasks``, done in how many ``millis``econds.

    Time is told with judgments only, so that it counts once.
    """

    amount: int = 0
    tasks: int = 0
    millis: int = 0

    def plus(self, other: Sum) -> Sum:
        """Both together."""
        return Sum(*map(add, self, other))

    def less(self, other: Sum) -> Sum:
        """What is left without the other."""
        return Sum(*map(sub, self, other))


#: Nothing is due, or paid.
NOTHING = Sum()


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the ledger: ``number`` counts the entries of its key from 0, so that each has a name of its own.

    ``change`` is what it adds to the sum of its key; ``positions`` (first and last) say which tasks the key was about
    at the time.
    """

    key: Key
    number: int
    change: Sum
    positions: tuple[int, int] | None = None

    @property
    def amount(self) -> int:
        """What it adds to somebody's balance, in millionths."""
        return self.change.amount


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a person has judged of a suite in a slot, and what became of it as things stand.

    ``positions`` are the tasks with a value; ``right`` and ``wrong`` count those of known truth, ``agreed`` those whose
    truth is not known, and whose accepted answer is what the person said. ``millis``: milliseconds it took.
    """

    job: str
    suite: int
    stage: int
    judge: str
    slot: int
    worker: str
    positions: Collection[int]
    right: int = 0
    wrong: int = 0
    agreed: int = 0
    millis: int = 0

    def key(self, kind: Kind) -> Key:
        """The key of its entries of a kind."""
        return Key(self.job, self.suite, self.stage, self.judge, self.slot, self.worker, kind)


@dataclass(slots=True)
class Paid:
    """What the ledger has under a key: how many entries, and their sum."""

    entries: int = 0
    sum: Sum = NOTHING


def due(rules: Rules, work: Work) -> dict[Kind, Sum]:
    """What is due for it, by kinds. The penalty takes no more than what the work has earned, so nobody comes to owe."""
    judged = len(work.positions)
    found: dict[Kind, Sum] = {
        "judgment": Sum(rules.judgment * judged, judged, work.millis),
        "gold": Sum(rules.gold * work.right, work.right),
        "agreement": Sum(rules.agreement * work.agreed, work.agreed),
    }
    earned = sum(one.amount for one in found.values())
    found["penalty"] = Sum(-min(rules.penalty * work.wrong, earned), work.wrong)
    return found


def works(
    job: str,
    suite: int,
    said: Iterable[Judgments],
    truths: Mapping[int, Any],
    answers: Mapping[int, Any],
    same: Callable[[Any, Any], bool],
) -> list[Work]:
    """What people have judged of a suite, from all that they said of it, in any order and however often.

    ``truths`` and ``answers`` are those that are known, by position; ``same`` says whether a value is one of them. A
    person counts once a task: of several judgments that in the lowest stage, judge and slot does. A task of which
    somebody failed is not judged by it.
    """
    values: dict[tuple[int, str, int, str], dict[int, Any]] = {}
    times: dict[tuple[int, str, int, str], set[tuple[float, float]]] = {}
    for message in said:
        whose = message.stage, message.judge, message.slot, message.worker
        part = values.setdefault(whose, {})
        times.setdefault(whose, set()).add((message.started, message.finished))
        for position, value in zip(message.positions, message.values, strict=True):
            if position not in message.errors:
                part.setdefault(position, value)
    counted: set[tuple[str, int]] = set()
    found = []
    for whose, part in sorted(values.items()):
        stage, judge, slot, worker = whose
        own = {position: value for position, value in part.items() if (worker, position) not in counted}
        counted |= {(worker, position) for position in own}
        known = [same(value, truths[position]) for position, value in own.items() if position in truths]
        agreed = [
            same(value, answers[position])
            for position, value in own.items()
            if position in answers and position not in truths
        ]
        found.append(
            Work(
                job=job, suite=suite, stage=stage, judge=judge, slot=slot, worker=worker, positions=frozenset(own),
                right=sum(known), wrong=len(known) - sum(known), agreed=sum(agreed),
                millis=round(min(LONGEST, 1000 * sum(max(0.0, end - begun) for begun, end in sorted(times[whose])))),
            )
        )  # fmt: skip
    return found


class Ledger:
    """What is known of a ledger: the sums of its entries by key. It takes entries in, and says which are wanting."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._paid: dict[Key, Paid] = {}
        self._people: Counter[tuple[str, str]] = Counter()
        self.add(entries)

    @classmethod
    def of(cls, paid: Mapping[Key, Paid], people: Mapping[tuple[str, str], int]) -> Ledger:
        """A ledger of which the keys that matter and the balances of the people in question are known."""
        ledger = cls()
        ledger._paid.update(paid)
        ledger._people.update(people)
        return ledger

    def sums(self) -> dict[Key, Sum]:
        """What there is under each key."""
        return {key: paid.sum for key, paid in self._paid.items()}

    def add(self, entries: Iterable[Entry]) -> None:
        """Take in entries, those of each key in their order.

        Raises:
            ValueError: an entry has the number of another, or one before it is missing.
        """
        for entry in entries:
            paid = self._paid.setdefault(entry.key, Paid())
            if entry.number != paid.entries:
                raise ValueError(f"entry {entry.number} of {entry.key} comes where {paid.entries} is expected")
            paid.entries += 1
            paid.sum = paid.sum.plus(entry.change)
            self._people[entry.key.job, entry.key.worker] += entry.amount

    def balance(self, job: str, worker: str) -> int:
        """What a person has earned in a job."""
        return self._people[job, worker]

    def spent(self, job: str) -> int:
        """What all have earned in a job."""
        return sum(amount for (one, _), amount in self._people.items() if one == job)

    def settle(self, rules: Rules, works: Sequence[Work]) -> list[Entry]:
        """The entries that bring the ledger to what is due for these works, taken in at once; none the second time.

        A person's cap is kept by entries of its own, which go back when there is room again.
        """
        found = [
            entry
            for work in works
            for kind, one in due(rules, work).items()
            if (entry := self._towards(work.key(kind), one, _range(work.positions)))
        ]
        self.add(found)
        if rules.per_person is not None:
            people = sorted({(work.job, work.worker) for work in works})
            caps = [entry for job, worker in people if (entry := self._capped(job, worker, rules.per_person))]
            self.add(caps)
            found += caps
        return found

    def _towards(self, key: Key, wanted: Sum, positions: tuple[int, int] | None) -> Entry | None:
        paid = self._paid.get(key, Paid())
        return None if wanted == paid.sum else Entry(key, paid.entries, wanted.less(paid.sum), positions)

    def _capped(self, job: str, worker: str, cap: int) -> Entry | None:
        key = Key(job, WHOLE, WHOLE, "", WHOLE, worker, "cap")
        earned = self.balance(job, worker) - self._paid.get(key, Paid()).sum.amount
        return self._towards(key, Sum(min(0, cap - earned)), None)


def _range(positions: Collection[int]) -> tuple[int, int] | None:
    return (min(positions), max(positions)) if positions else None
