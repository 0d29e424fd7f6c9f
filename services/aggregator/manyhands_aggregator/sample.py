"""What judges said of some tasks, and tasks like these drawn from it; pure.

A drawn task is one on record, with all that was said of it together: that judges err on the same tasks, and how sure
they say they are, stays as it was. Who of the people said it is drawn anew, by how good each of them is: some look
better than they are by what little is on record, and drawn again and again they would come to be believed. What nobody
has on record is made up of how good each judge was, or is said to be.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from manyhands.messages import Failure
from manyhands.spec import PEOPLE, JobSpec
from manyhands_aggregator import values
from manyhands_aggregator.guesses import truths

#: Before a judge was compared it is taken to be right as Beta(2.8, 1.2) has it, like a voter of whom nothing is known.
RIGHT, JUDGED = 2.8, 4.0
#: People are taken to differ at least a little: as if each was known by no more than so many judgments.
STRONGEST = 200.0
#: Tasks of known truth of which the share that is answered right can be told.
ENOUGH = 50
#: People there are taken to be where none was seen.
CROWD = 20


class Said(NamedTuple):
    """One judgment on record, or its failure."""

    worker: str
    value: Any = None
    confidence: float | None = None
    cost: float | None = None
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Specimen:
    """A task on record: what each judge said of it, a machine by slot and people one by one, and its truth if known."""

    said: Mapping[str, Sequence[Said]]
    truth: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Tasks on record, and what is stated of judges instead: the share (0..1) of their judgments that are right.

    ``seconds`` is what a judgment takes each judge, ``load`` what it takes to get ready; 0 where nothing is known.
    ``ordered`` tasks come as they did in a job: when an error was met decided how far its judge was believed.
    """

    tasks: Sequence[Specimen] = ()
    skills: Mapping[str, float] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    load: Mapping[str, float] = field(default_factory=dict)
    ordered: bool = False

    @property
    def people(self) -> int:
        """How many people judged."""
        return len({said.worker for task in self.tasks for said in task.said.get(PEOPLE, ())})


class Unknowable(ValueError):
    """Nothing is known of a judge."""


class Urn:
    """A sample made ready to draw tasks from.

    Raises:
        Unknowable: of a judge of the plan nothing is on record and nothing stated; or of no task, and the answers are
            none of a ``choice``, which could be made up.
    """

    def __init__(self, spec: JobSpec, sample: Sample, seed: int = 0) -> None:
        self.spec, self.sample = spec, sample
        self.options: Sequence[str] = spec.answer.options or () if spec.answer.type == "choice" else ()
        self._check = values.check(spec.answer)
        self.unseen = _unseen(spec, sample)
        for judge in self.unseen:
            if judge not in sample.skills:
                raise Unknowable(f"nothing is known of the judge {judge}: it is not on record, and no skill is stated")
        if not sample.tasks and not self.options:
            raise Unknowable(f"answers of the type {spec.answer.type} cannot be made up")
        self.truths = truths(sample.tasks, self.options, random.Random(seed))
        known = sum(task.truth is not None for task in sample.tasks)
        self._gold = known / len(sample.tasks) if sample.tasks else 1.0
        self._enough = known >= ENOUGH or known == len(sample.tasks) or not known
        self._tendencies = {judge: self._tendency(judge) for judge in spec.judge_names}
        self.persons = self._persons()

    def same(self, one: Any, other: Any) -> bool:
        """Whether two values are the same answer."""
        return values.same(self.spec, self._check, one, other)

    def people(self, rng: random.Random) -> Mapping[str, Person]:
        """Everybody, each as good as may be by what is on record."""
        return {who: person.drawn(rng) for who, person in self.persons.items()}

    def draw(self, rng: random.Random, place: int | None, people: Mapping[str, Person]) -> Drawn:
        """A task like that at a place of the sample, for these people; None: one made up."""
        own = random.Random(rng.getrandbits(64))
        return Drawn(self, place, rng.choice(self.options) if place is None else None, people, own)

    def gold(self, place: int, rng: random.Random) -> Any:
        """The truth that the judges of the job are held against, None if none is: that on record, if there are enough.

        Where there are few, as many tasks have one, but any: the few may have no error among them that others have.
        """
        if self._enough:
            return self.sample.tasks[place].truth
        return self.truths[place] if rng.random() < self._gold else None

    def measure(self, place: int) -> Any:
        """The truth that answers are held against, None if none is: that on record, if there are enough.

        Of few a share says nothing; then it is what all judges together make of it, too.
        """
        return self.sample.tasks[place].truth if self._enough else self.truths[place]

    def made_up(self, judge: str, skill: float, worker: str, truth: Any, others: Sequence[Any], rng: Any) -> Said:
        """A judgment that is right with this probability, stated as sure as the judge's right or wrong ones are."""
        right = rng.random() < skill
        value = truth if right else self._wrong(judge, truth, others, rng)
        stated = self._tendencies[judge].stated[right]
        return Said(worker, value, rng.choice(stated) if stated else None)

    def skill(self, judge: str) -> float:
        """The probability that a judgment of the judge is right."""
        return self._tendencies[judge].skill

    def _wrong(self, judge: str, truth: Any, others: Sequence[Any], rng: random.Random) -> Any:
        if self.options:
            return rng.choice([option for option in self.options if option != truth] or self.options)
        return rng.choice(self._tendencies[judge].values or others)

    def _tendency(self, judge: str) -> _Tendency:
        right = judged = 0
        stated: tuple[list[float | None], list[float | None]] = ([], [])
        said_all: list[Any] = []
        for task, truth in zip(self.sample.tasks, self.truths, strict=True):
            for said in task.said.get(judge, ()):
                if said.failure is None and truth is not None:
                    is_right = self.same(said.value, truth)
                    right, judged = right + is_right, judged + 1
                    stated[is_right].append(said.confidence)
                    said_all.append(said.value)
        skill = self.sample.skills.get(judge, (right + RIGHT) / (judged + JUDGED))
        return _Tendency(skill, stated, said_all)

    def _persons(self) -> dict[str, Person]:
        """Everybody on record, or a crowd of people alike.

        How good each is lies between what is on record and the mean of all: the less of it is chance, the nearer to the
        record (a Beta distribution by the method of moments).
        """
        if PEOPLE not in self._tendencies:
            return {}
        mean = self.skill(PEOPLE)
        counts: dict[str, list[int]] = {}
        for task, truth in zip(self.sample.tasks, self.truths, strict=True):
            for said in task.said.get(PEOPLE, ()):
                of = counts.setdefault(said.worker, [0, 0])
                if said.failure is None and truth is not None:
                    of[0] += self.same(said.value, truth)
                    of[1] += 1
        if not counts:
            return {f"someone-{number}": Person(mean, 1.0, 0.0) for number in range(CROWD)}
        drawn_in = _strength([(right, judged) for right, judged in counts.values() if judged], mean)
        return {
            who: Person((right + drawn_in * mean) / (judged + drawn_in), judged + 1.0, judged + drawn_in)
            for who, (right, judged) in sorted(counts.items())
        }


def _strength(counts: Sequence[tuple[int, int]], mean: float) -> float:
    """On how many judgments more, like the mean, each person's share of right ones is to rest."""
    judged = sum(n for _, n in counts)
    chance = mean * (1 - mean)
    if len(counts) < 2 or chance <= 0:
        return JUDGED
    # the spread beyond that of people who are all alike, each counted by what it gave
    spread = sum(n * (right / n - mean) ** 2 for right, n in counts) - (len(counts) - 1) * chance
    size = judged - sum(n * n for _, n in counts) / judged
    between = spread / size if size > 0 else 0.0
    return min(STRONGEST, max(JUDGED, chance / between - 1)) if between > 0 else STRONGEST


class Person(NamedTuple):
    """The probability that a person is right, how often it comes, against others, and how well the first is known.

    ``known`` is on how many judgments the probability rests, a Beta distribution; 0 is certainty.
    """

    skill: float
    share: float
    known: float

    def drawn(self, rng: random.Random) -> Person:
        """How good it may be: the means of few judgments are more alike than people are."""
        if not self.known or not 0 < self.skill < 1:
            return self
        return self._replace(skill=rng.betavariate(self.skill * self.known, (1 - self.skill) * self.known))


class _Tendency(NamedTuple):
    """How often a judge is right; what it stated when it was wrong, and when right; and all that it said."""

    skill: float
    stated: tuple[list[float | None], list[float | None]]
    values: list[Any]


class Drawn:
    """A task of a simulated job: asked again it says the same, and nobody judges it twice."""

    __slots__ = ("_everybody", "_free", "_machines", "_people", "_rest", "_rng", "_urn", "gold", "measured", "truth")

    def __init__(
        self, urn: Urn, place: int | None, truth: Any, everybody: Mapping[str, Person], rng: random.Random
    ) -> None:
        self._urn, self._everybody, self._rng = urn, everybody, rng
        said = {} if place is None else urn.sample.tasks[place].said
        #: Its truth, known or guessed; that which judges are held against, and that which its answer is; None: not.
        self.truth = truth if place is None else urn.truths[place]
        self.gold = truth if place is None else urn.gold(place, rng)
        self.measured = truth if place is None else urn.measure(place)
        self._machines = {judge: some for judge, some in said.items() if judge != PEOPLE and some}
        self._rest = list(said.get(PEOPLE, ()))
        rng.shuffle(self._rest)
        self._people: list[Said] = []
        self._free: dict[str, Person] | None = None

    def said(self, judge: str, nth: int) -> Said:
        """What a judge says of it when it is asked for the ``nth`` time, from 0; of people, each time another."""
        if judge == PEOPLE:
            while len(self._people) <= nth:
                self._people.append(self._another())
            return self._people[nth]
        if judge not in self._machines:
            self._machines[judge] = [self._made_up(judge, self._urn.skill(judge), judge)]
        some = self._machines[judge]
        return some[nth % len(some)]

    def _another(self) -> Said:
        if self._free is None:
            self._free = dict(self._everybody)
        mean = self._urn.skill(PEOPLE)
        if self._rest:
            said = self._rest.pop()
            if said.failure is not None or self.truth is None:
                return said._replace(worker=self._person(lambda one: one.share)[0])
            if self._urn.same(said.value, self.truth):
                return said._replace(worker=self._person(lambda one: one.share * one.skill)[0])
            return said._replace(worker=self._person(lambda one: one.share * (1 - one.skill))[0])
        who, person = self._person(lambda one: one.share)
        return self._made_up(PEOPLE, mean if person is None else person.skill, who)

    def _person(self, weight: Callable[[Person], float]) -> tuple[str, Person | None]:
        """One of those who have not judged it yet; somebody new when all have."""
        free = self._free or {}
        if not free:
            return f"another-{len(self._people)}", None
        names = list(free)
        weights = [weight(free[name]) for name in names]
        who = self._rng.choices(names, weights)[0] if sum(weights) > 0 else self._rng.choice(names)
        return who, free.pop(who)

    def _made_up(self, judge: str, skill: float, worker: str) -> Said:
        known = [*self._machines.values(), self._people, self._rest]
        there = [said.value for some in known for said in some if said.failure is None]
        if self.truth is None and not there:
            return Said(worker, failure=Failure(code="unknown", message="nobody on record judged a task like it"))
        truth = self._rng.choice(there) if self.truth is None else self.truth
        return self._urn.made_up(judge, skill, worker, truth, there, self._rng)


def _unseen(spec: JobSpec, sample: Sample) -> list[str]:
    """Judges of the plan without any judgment on record."""
    seen = {judge for task in sample.tasks for judge, said in task.said.items() if said}
    return [judge for judge in spec.judge_names if judge not in seen]
