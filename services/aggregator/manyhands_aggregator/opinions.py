"""What is thought of a task's votes: by what is believed of the voters so far, or by the rule of the job's method.

The voters of a ``choice`` are believed as far as they have been right, on gold and on answers that others bore out;
values of any other type are compared with one another, and what voters state of themselves is believed as far as it
came true.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgpack
import numpy as np
from numpy.typing import NDArray

from manyhands.spec import Accept
from manyhands_aggregator import decide, values
from manyhands_aggregator.decide import Decision
from manyhands_aggregator.plan import Plan
from manyhands_aggregator.suite import SuiteState
from manyhands_aggregator.truth import accept as rules
from manyhands_aggregator.truth.belief import NEW, Beliefs, Vote, tally, weighed
from manyhands_aggregator.truth.gain import gain
from manyhands_aggregator.voices import Voice, counted, voices

#: Probabilities closer than this are level.
LEVEL = 1e-9
#: An answer below this says nothing of how sure its voters may be.
LEARN_FROM = 0.8
#: Who states nothing of a judgment is taken to be as sure as can be, until that is compared.
SURE = 1.0


def rule_of(accept: Accept) -> rules.Rule:
    """A rule of the job file as the truth package has it."""
    return rules.Rule(confidence=accept.confidence, margin=accept.margin, agree=accept.agree, at_most=accept.at_most)


class Believed:
    """Of a ``choice``, by beliefs of its voters, which rest on what was ``studied`` of tasks under way, too."""

    def __init__(self, plan: Plan, beliefs: Beliefs, studied: Mapping[int, Sequence[Vote]]) -> None:
        self._options = plan.spec.answer.options or []
        self._labels = {option: label for label, option in enumerate(self._options)}
        self._beliefs, self._studied = beliefs, studied
        self._last: _Weighed | None = None

    def _weighed(self, votes: Sequence[Voice], position: int) -> _Weighed:
        if self._last is None or self._last.of is not votes:
            cast = _cast(votes, self._labels)
            rights = self._beliefs.rights(cast, self._studied.get(position, ()))
            self._last = _Weighed(votes, cast, rights, weighed(cast, rights, len(self._options)))
        return self._last

    def answer(self, votes: Sequence[Voice], position: int) -> tuple[object, float, bool]:
        """The likeliest option; of those level, the one with the most voters; of those again, the first."""
        _, cast, _, posterior = self._weighed(votes, position)
        return _likeliest(self._options, cast, posterior)

    def rights(self, votes: Sequence[Voice], position: int) -> tuple[float, ...]:
        """How probable it is that each is right, by what is believed now."""
        return tuple(self._weighed(votes, position).rights)

    def accepts(self, accept: Accept, votes: Sequence[Voice], position: int) -> bool:
        """Whether the likeliest option is enough for a rule."""
        _, cast, _, posterior = self._weighed(votes, position)
        return rules.accepts(rule_of(accept), posterior, cast)

    def gain(self, votes: Sequence[Voice], position: int) -> float:
        """What a judgment of somebody new is expected to tell."""
        return gain(self._weighed(votes, position).posterior, NEW)


class _Weighed(NamedTuple):
    """Votes ``of`` a task, what they are ``cast`` as, how probable each is right, and their posterior."""

    of: Sequence[Voice]
    cast: Sequence[Vote]
    rights: Sequence[float]
    posterior: NDArray[np.float64]


def believed_then(plan: Plan, votes: Sequence[Voice], rights: Sequence[float]) -> tuple[object, float]:
    """The answer, and its probability, when these votes were right with such probabilities."""
    if plan.spec.answer.type != "choice":
        then = [voice._replace(confidence=right) for voice, right in zip(votes, rights, strict=True)]
        return Compared(plan).answer(then, 0)[:2]
    options = plan.spec.answer.options or []
    cast = _cast(votes, {option: label for label, option in enumerate(options)})
    return _likeliest(options, cast, weighed(cast, rights, len(options)))[:2]


def _cast(votes: Sequence[Voice], labels: Mapping[str, int]) -> list[Vote]:
    return [Vote(voice.voter, labels[voice.value], voice.confidence) for voice in votes]


def _likeliest(
    options: Sequence[str], cast: Sequence[Vote], posterior: NDArray[np.float64]
) -> tuple[object, float, bool]:
    level = np.flatnonzero(posterior >= posterior.max() - LEVEL)
    heads = tally(cast, len(posterior))
    label = max(level.tolist(), key=lambda one: (heads[one], -one))
    return options[label], float(posterior[label]), len(level) > 1


class Compared:
    """Of any type, by the rule of the job's method: the confidence is what the method says of one suite.

    What a voter states of its own judgment counts as far as ``beliefs`` bear it out, and before there is enough to
    compare no more than the word of anybody new. Without beliefs it counts as it was stated.
    """

    def __init__(self, plan: Plan, beliefs: Beliefs | None = None) -> None:
        self._rule, self._beliefs = plan.rule, beliefs
        self._key: Callable[[Any], Any] = values.canonical if plan.spec.answer.type in ("json", "choices") else _same

    def _own(self, voice: Voice) -> float | None:
        if self._beliefs is None:
            return voice.confidence
        stated = SURE if voice.confidence is None else float(voice.confidence)
        found = self._beliefs.borne_out(voice.voter, stated)
        return min(stated, NEW) if found is None else found

    def answer(self, votes: Sequence[Voice], position: int) -> tuple[object, float, bool]:  # noqa: ARG002  as of all opinions
        """The method's answer."""
        if len(votes) == 1:
            own = self._own(votes[0])
            return votes[0].value, SURE if own is None else float(own), False
        verdict = self._rule([decide.Vote(voice.value, 1.0, self._own(voice)) for voice in votes])
        return verdict.value, verdict.confidence, verdict.tied

    def rights(self, votes: Sequence[Voice], position: int) -> tuple[float, ...] | None:  # noqa: ARG002  as of all opinions
        """How probable it is that each is right, by what it states of itself; None without beliefs."""
        own = [self._own(voice) for voice in votes]
        return None if self._beliefs is None else tuple(right for right in own if right is not None)

    def accepts(self, accept: Accept, votes: Sequence[Voice], position: int) -> bool:
        """Whether its confidence, and the votes for the most frequent value, are enough for a rule."""
        _, confidence, _ = self.answer(votes, position)
        known: dict[Any, int] = {}
        cast = [Vote(voice.voter, known.setdefault(self._key(voice.value), len(known))) for voice in votes]
        posterior = np.zeros(len(known))
        posterior[0] = confidence
        return rules.accepts(rule_of(accept), posterior, cast)

    def gain(self, votes: Sequence[Voice], position: int) -> float:
        """How far its confidence is from certainty."""
        return 1.0 - self.answer(votes, position)[1]


def _same(value: Any) -> Any:
    return value


def opinion(plan: Plan, beliefs: Beliefs, studied: Mapping[int, Sequence[Vote]]) -> Believed | Compared:
    """What to think of the votes of a job, with what is believed by now."""
    return Believed(plan, beliefs, studied) if plan.spec.answer.type == "choice" else Compared(plan, beliefs)


class Lesson(NamedTuple):
    """The votes of the task at a position; the label known to be true, and the one accepted, None where none is."""

    position: int
    votes: Sequence[Vote]
    truth: int | None = None
    answer: int | None = None

    def teach(self, beliefs: Beliefs) -> None:
        """Learn from it.

        Gold teaches of everybody. Other votes are studied; what a voter states of itself is compared with the answer if
        that rests on somebody else, too.
        """
        if self.truth is not None:
            for vote in {vote.worker: vote for vote in reversed(self.votes)}.values():
                beliefs.learn(vote.worker, vote.label, self.truth, vote.confidence)
            return
        beliefs.study(self.votes)
        if self.answer is None:
            return
        bearers = {vote.worker for vote in self.votes if vote.label == self.answer}
        for vote in self.votes:
            if vote.confidence is not None and bearers - {vote.worker}:
                beliefs.heed(vote.worker, vote.label, self.answer, vote.confidence)

    def withdraw(self, beliefs: Beliefs) -> None:
        """Undo the lesson of a task under way."""
        beliefs.study((), self.votes)


def lessons(plan: Plan, state: SuiteState, decision: Decision) -> list[Lesson]:
    """What a settled suite teaches of its voters."""
    if plan.spec.answer.type != "choice":
        return _comparisons(plan, state, decision)
    labels = {option: label for label, option in enumerate(plan.spec.answer.options or ())}
    truths = None if state.truths is None else msgpack.unpackb(state.truths, strict_map_key=False)
    found: list[Lesson] = []
    for position, votes in _votes(plan, state):
        index = position - state.first
        truth = None if truths is None or truths[index] is None else _label(plan, labels, truths[index])
        confidence = decision.confidences[index]
        sure = index not in decision.errors and confidence is not None and confidence >= LEARN_FROM
        if votes and (truth is not None or len(votes) > 1):
            found.append(Lesson(position, votes, truth, labels[decision.values[index]] if sure else None))
    return found


def _comparisons(plan: Plan, state: SuiteState, decision: Decision) -> list[Lesson]:
    """Of a type that has no options: a vote has the label 1 if it is borne out by the truth or the answer, else 0."""
    truths = None if state.truths is None else msgpack.unpackb(state.truths, strict_map_key=False)
    found: list[Lesson] = []
    for position, of in sorted(voices(state.said).items()):
        index = position - state.first
        truth = None if truths is None else truths[index]
        confidence = decision.confidences[index]
        if truth is None and (index in decision.errors or confidence is None or confidence < LEARN_FROM):
            continue
        reference = decision.values[index] if truth is None else truth
        heard, _ = counted(of[slot] for slot in sorted(of))
        votes = [
            Vote(
                voice.voter,
                int(values.same(plan.spec, plan.check, voice.value, reference)),
                SURE if voice.confidence is None else voice.confidence,
            )
            for voice in heard
        ]
        if votes and (truth is not None or len(votes) > 1):
            found.append(Lesson(position, votes, None if truth is None else 1, 1))
    return found


def glimpses(plan: Plan, state: SuiteState) -> list[Lesson]:
    """What a suite under way teaches by now: the votes of its tasks, as far as there is more than one."""
    if plan.spec.answer.type != "choice":
        return []  # there is nothing yet to compare them with
    return [Lesson(position, votes) for position, votes in _votes(plan, state) if len(votes) > 1]


def _votes(plan: Plan, state: SuiteState) -> Iterator[tuple[int, list[Vote]]]:
    labels = {option: label for label, option in enumerate(plan.spec.answer.options or ())}
    for position, of in sorted(voices(state.said).items()):
        heard, _ = counted(of[slot] for slot in sorted(of))
        yield position, [Vote(voice.voter, labels[voice.value], voice.confidence) for voice in heard]


def _label(plan: Plan, labels: dict[str, int], truth: Any) -> int | None:
    try:
        return labels[plan.check(truth)]
    except ValueError:
        return None
