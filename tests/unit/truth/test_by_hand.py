"""Every method on a case worked by hand, and what its docstring promises of further judgments.

The tables are held to the methods there are: who adds a method adds a case, and says what is promised.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import digamma as psi  # type: ignore[import-untyped]  # it ships no types

from manyhands_aggregator.truth import methods, numbers, pairs, texts, types
from manyhands_aggregator.truth.ballots import Ballots
from manyhands_aggregator.truth.belief import Beliefs, Vote
from manyhands_aggregator.truth.numbers import Numbers
from manyhands_aggregator.truth.pairs import Pairs
from tests.unit.truth.small import crowd

#: One worker says the first of two classes of one task.
ONE = Ballots.of([0], [0], [0], classes=2)
#: Three workers, three tasks, two classes: worker 2 is always in the minority, and task 2 is level.
THREE = Ballots.of([0, 0, 0, 1, 1, 1, 2, 2], [0, 1, 2, 0, 1, 2, 0, 2], [0, 0, 1, 1, 1, 0, 0, 1])


class Case(NamedTuple):
    """Judgments, options of the method, and the probability of the first class of each task."""

    ballots: Ballots
    expected: Sequence[float]
    options: dict[str, Any] = {}  # noqa: RUF012  nobody changes it


def odds(x: float) -> float:
    """The probability of these odds' logarithm."""
    return 1.0 / (1.0 + math.exp(-x))


def mace() -> float:
    """Ten guesses of an even habit are counted beforehand, so the one label has 6 of 11; half of all is guessed."""
    # what is right is known with 1/2, guessed with 1/2 x 6/11 = 3/11: of 17 parts 6 are guessed
    guessed = 6 / 17
    guess, know = (math.exp(psi(of + 0.5) - psi(2)) for of in (guessed, 1 - guessed))
    habit = math.exp(psi(guessed + 5) - psi(guessed + 10))
    return odds(math.log(1 + know / (guess * habit)))


def pooled() -> float:
    """It guesses half, says this in 29/45 of its guesses; four judgments are counted beforehand."""
    # half a guess of 4.5 counted is its own; of the others' habit, (0.5 + 1) / (0.5 + 2) = 0.6 say the same
    habit = 0.5 / 4.5 + 4 / 4.5 * 0.6
    right, wrong = 4 * (0.5 + 0.5 * habit), 4 * 0.5 * habit
    seen = psi(1 + right) - psi(4 + 1) - psi(wrong) + psi(4)
    # of the class: the task, a tenth of its vote, and a half; of the other a half
    return odds(seen + psi(1 + 0.1 + 0.5) - psi(0.5))


CHOICE: dict[str, Case] = {
    # the shares of votes
    "majority": Case(THREE, [2 / 3, 1 / 3, 1 / 2]),
    # 0 agrees with the majority on tasks 0 and 1 and half on the level one, 1 always, 2 half of once: 5/6, 1, 1/6
    "wawa": Case(THREE, [(5 / 6 + 1) / 2, (1 / 6) / 2, 5 / 6]),
    # with those weights task 2 is decided: then 0 and 1 have always agreed and 2 never
    "zero-based-skill": Case(THREE, [1, 0, 1]),
    # by the votes 0 and 1 are right 2/3 of the time and 2 is 1/3: three votes with the odds of 2 for the same class
    "one-coin": Case(
        Ballots.of([0, 0, 0, 1, 1, 1], [0, 1, 2, 0, 1, 2], [0, 0, 1, 1, 1, 0]), [8 / 9, 1 / 9], {"iterations": 1}
    ),
    # by the votes class 0 has 3/4; 0 says 0 of both classes; 1 says 1 of 1/3 of class 0 and all of class 1.
    # task 0: 3/4 x 2/3 against nothing; task 1: 3/4 x 1/3 against 1/4 x 1
    "dawid-skene": Case(Ballots.of([0, 0, 1, 1], [0, 1, 0, 1], [0, 0, 0, 1]), [1, 1 / 2], {"iterations": 1}),
    # each counts psi(5) - psi(6) = -1/5 for the class, psi(1) - psi(5) = -25/12 against; the class psi(2) - psi(1) = 1
    "ibcc": Case(Ballots.of([0, 0], [0, 1], [0, 0], classes=2), [odds(2 * (25 / 12 - 1 / 5) + 1)], {"iterations": 1}),
    # at rest the task is believed as the ability foretells: nothing moves ability from 1, nor ease from e
    "glad": Case(ONE, [odds(math.e)], {"iterations": 1000, "tolerance": 1e-12}),
    "mace": Case(ONE, [mace()], {"iterations": 1}),
    # errors of 1/9, 1/9 and 4/9 of estimates 2/3 and 1/3, and 15 judgments of 2/9 x 4 x 1/2 = 4/9 beforehand:
    # precisions 16 / (61/9) = 144/61 twice and 16 / (64/9) = 9/4, and the mean 2/3 as one judgment more
    "bwa": Case(
        Ballots.of([0, 0, 0], [0, 1, 2], [0, 0, 1]),
        [(2 / 3 + 288 / 61) / (1 + 288 / 61 + 9 / 4)],
        {"tolerance": math.inf},
    ),
    "pooled": Case(ONE, [pooled()], {"iterations": 1, "correlation": 0.0}),
    # pooled says p and the average 1, as nobody errs: the mean (p + 1) / 2 goes three quarters of the way to p, of 0.96
    "blend": Case(ONE, [0.96 * (0.875 * float(methods.infer(ONE, "pooled").posterior[0, 0]) + 0.125) + 0.02]),
}
#: 0, 2 and 10, 12 by two workers; 0, 2, 10 by three, whose distances from the median are 2, 0, 8, all by sqrt(1.5).
SQUARE = Numbers(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]), np.array([0.0, 2, 10, 12]), 2, 2)
UNEVEN = Numbers(np.zeros(3, int), np.arange(3), np.array([0.0, 2, 10]), 1, 3)
#: The typical variance there is that of the middle distance.
TYPICAL = 1.5 * (2 * numbers.MAD) ** 2


def robust() -> float:
    """From the median 2, whose own variance is a third: weights of (f + 1) / (f + r^2) with f = 4."""
    near, middle, far = (5 / (4 + (d**2 + TYPICAL / 3) / TYPICAL) for d in (2, 0, 8))
    return (0 * near + 2 * middle + 10 * far) / (near + middle + far)


NUMBER: dict[str, tuple[Numbers, Sequence[float], dict[str, Any]]] = {
    "mean": (SQUARE, [1, 11], {}),
    "median": (UNEVEN, [2], {}),
    # all weigh alike at first; then 0 and 1, who err alike on either side, still do
    "precision": (SQUARE, [1, 11], {}),
    "robust": (UNEVEN, [robust()], {"iterations": 1}),
}
TEXT: dict[str, tuple[list[str], tuple[str, float]]] = {
    "exact": (["b", "a", "b", "B"], ("b", 2 / 4)),
    # four of five are "main st", two of them written as the first
    "normalised": (["Main St.", "main  st", "Main St.", "MAIN\u00a0ST", "\uff2dain Street"], ("Main St.", 4 / 5)),
    # slots: the 2 of 3, cat 3, sat 2, on 3, the 2, mat 3
    "rover": (
        ["the cat sat on mat", "the cat sit on the mat", "cat sat on the mat"],
        ("the cat sat on the mat", 15 / 18),
    ),
}
#: What is true of the scores, skills and biases: that these two are the same.
Equation = Callable[[Any], tuple[Any, Any]]
PAIRWISE: dict[str, tuple[Pairs, dict[str, Any], Equation]] = {
    # three wins of four and no prior: 3 to 1
    "bradley-terry": (
        Pairs.of([0, 0, 0, 1], [1, 1, 1, 0], [True] * 4), {"prior": 0}, lambda it: (it.score, [3 / 4, 1 / 4]),
    ),
    # of one comparison, left wins: looked 0.8 x 1/2 against 0.2 x 1/2, which is 4/5; so the skill (4/5 + 4) / (1 + 5)
    # stays 4/5, and of guesses (1/5 + 1) / (1/5 + 2) = 6/11 say left
    "noisy-bradley-terry": (
        Pairs.of([0], [1], [True]), {"iterations": 1}, lambda it: ([*it.skill, *it.bias], [4 / 5, 6 / 11]),
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("table", "there"),
    [(CHOICE, methods.METHODS), (NUMBER, numbers.METHODS), (TEXT, texts.METHODS), (PAIRWISE, pairs.METHODS)],
)
def test_every_method_is_worked_by_hand(table: dict[str, Any], there: dict[str, Any]) -> None:
    """And sets of labels are inferred by the methods for choices (test_labels), JSON as texts."""
    assert table.keys() == there.keys()
    known = {"choice": [*CHOICE], "choices": [*CHOICE], "number": [*NUMBER], "text": [*TEXT], "json": ["exact"]}
    assert {str(type_): list(named) for type_, named in types.METHODS.items()} == known


@pytest.mark.parametrize("name", CHOICE)
def test_choice_by_hand(name: str) -> None:
    """The comments in the table say how; what is infinitely small is 1e-10 here."""
    case = CHOICE[name]
    found = methods.METHODS[name](case.ballots, **case.options).posterior
    assert found[:, 0] == pytest.approx(case.expected, abs=1e-8)


@pytest.mark.parametrize("name", NUMBER)
def test_number_by_hand(name: str) -> None:
    """The comments in the table say how."""
    given_, expected, options = NUMBER[name]
    assert numbers.METHODS[name](given_, **options).value == pytest.approx(expected)


@pytest.mark.parametrize("name", TEXT)
def test_text_by_hand(name: str) -> None:
    """The comments in the table say how."""
    said, (text, share) = TEXT[name]
    found = texts.METHODS[name](said)
    assert found[0] == text
    assert found[1] == pytest.approx(share)


@pytest.mark.parametrize("name", PAIRWISE)
def test_pairwise_by_hand(name: str) -> None:
    """The comments in the table say how."""
    compared, options, equation = PAIRWISE[name]
    one, other = equation(pairs.METHODS[name](compared, **options))
    assert one == pytest.approx(other)


@pytest.mark.parametrize("method", [*methods.METHODS.values(), *numbers.METHODS.values(), *pairs.METHODS.values()])
def test_docstrings_say_what_they_must(method: Any) -> None:
    """Shapes and errors, which are the same for all of a type; the source; what becomes of a further judgment."""
    said = " ".join((inspect.getdoc(method) or "").split())
    assert "Shapes and errors: :class:`Method`" in said
    assert "Source" in said
    if method not in numbers.METHODS.values():  # where all promise the same
        assert ("never lowers" in said) != ("may lower" in said)


#: A crowd, of how many classes, and who judges which task of it and how, so that the posterior of what was said falls.
LOWERED: dict[str, tuple[int, int, int, int, int, float]] = {
    "one-coin": (26, 2, 3, 8, 1, 4.0),
    "dawid-skene": (20, 2, 4, 5, 1, 4.0),
    "ibcc": (30, 2, 2, 10, 0, 4.0),
    "glad": (28, 2, 4, 6, 0, 4.0),
    "mace": (57, 2, 3, 6, 1, 4.0),
    "pooled": (17, 2, 2, 0, 0, 4.0),
    "blend": (26, 3, 4, 5, 1, 2.5),
}


def more(before: Ballots, task: int, worker: int, label: int) -> Ballots:
    """With one judgment more."""
    return Ballots.of(
        np.append(before.task, task), np.append(before.worker, worker), np.append(before.label, label),
        tasks=before.tasks, workers=max(before.workers, worker + 1), classes=before.classes,
    )  # fmt: skip


@pytest.mark.parametrize(
    "name", [name for name in CHOICE if "never lowers" in " ".join(str(methods.METHODS[name].__doc__).split())]
)
@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 19), st.integers(0, 9), st.integers(0, 2))
def test_a_further_judgment_never_lowers_its_class(name: str, seed: int, task: int, worker: int, label: int) -> None:
    """Where the docstring promises it: by a worker known or new, of any task that it has not judged."""
    before, _ = crowd(seed, tasks=20, redundancy=3)
    if ((before.task == task) & (before.worker == worker)).any():
        worker = before.workers
    after = more(before, task, worker, label)
    low, high = (methods.infer(ballots, name).posterior[task, label] for ballots in (before, after))
    assert high >= low - 1e-12


@pytest.mark.parametrize("name", LOWERED)
def test_where_it_is_not_promised_it_cannot_be(name: str) -> None:
    """A good worker says one thing more, and that is believed less than before, for others are believed otherwise."""
    assert "may lower" in " ".join(str(methods.METHODS[name].__doc__).split())
    seed, classes, worker, task, label, good = LOWERED[name]
    before, _ = crowd(seed, tasks=12, workers=6, classes=classes, redundancy=3, good=good)
    found = methods.infer(before, name)
    assert found.skill is not None
    assert found.skill[worker] > 0.7
    after = methods.infer(more(before, task, worker, label), name)
    assert after.posterior[task, label] < found.posterior[task, label] - 0.01


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 2)), max_size=6), st.integers(0, 2))
def test_while_judgments_come_a_good_voter_never_lowers_its_choice(said: list[tuple[str, int]], label: int) -> None:
    """What is believed of voters stands while a task is looked at, so a vote of one who is mostly right only raises."""
    beliefs = Beliefs(3)
    for turn in range(20):
        beliefs.learn("good", turn % 3, turn % 3)
        beliefs.learn("a", 0, turn % 3)
    votes = [Vote(voter, chosen) for voter, chosen in said]
    before, after = beliefs.posterior(votes), beliefs.posterior([*votes, Vote("good", label)])
    assert after[label] > before[label] or before[label] == 1.0


@pytest.mark.parametrize("name", TEXT)
@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.sampled_from(["a", "b", "the", "cat", "Cat", "sat."]), max_size=6), min_size=1, max_size=6))
def test_texts_of_other_letters(name: str, said: list[list[str]]) -> None:
    """Letters six places on in the alphabet, which keep their order: the same answer in them, and as sure."""

    def moved(text: str) -> str:
        return "".join(chr(ord(c) + 6) if c.isalpha() else c for c in text)

    plain = [" ".join(one) for one in said]
    text, share = texts.METHODS[name](plain)
    assert texts.METHODS[name]([moved(one) for one in plain]) == (moved(text), share)
