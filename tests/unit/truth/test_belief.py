"""What is believed of voters, and of a task given its votes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyhands.testing.crowd import Crowd, simulate
from manyhands_aggregator.truth.ballots import Ballots
from manyhands_aggregator.truth.belief import Beliefs, Vote, lessons
from manyhands_aggregator.truth.methods import answers, infer

LEARNED = st.lists(st.tuples(st.sampled_from(["ann", "bob", "cid"]), st.integers(0, 2), st.integers(0, 2)), max_size=40)
VOTES = st.lists(
    st.builds(Vote, st.sampled_from(["ann", "bob", "cid", "dan"]), st.integers(0, 2)),
    max_size=4,
    unique_by=lambda vote: vote.worker,
)


def beliefs_of(learned: list[tuple[str, int, int]], classes: int = 3) -> Beliefs:
    """Beliefs that learned so, in this order."""
    beliefs = Beliefs(classes)
    for worker, said, truth in learned:
        beliefs.learn(worker, said, truth)
    return beliefs


def test_a_voter_nobody_knows_is_right_seven_times_in_ten() -> None:
    """The prior is Beta(2.8, 1.2), and one vote of such a voter gives its answer 70 %."""
    assert Beliefs(3).skill("ann") == pytest.approx(0.7)
    assert Beliefs(3).posterior([Vote("ann", 1)]) == pytest.approx([0.15, 0.7, 0.15])


def test_mistakes_fall_together() -> None:
    """By hand: one vote of five options is as right as its voter; the second for the same counts 4 ** -0.2 less."""
    one, two = (Beliefs(5).posterior([Vote(name, 1) for name in names])[1] for names in ("a", "ab"))
    assert one == pytest.approx(0.7)
    odds = (0.7 / 0.3 * 4) ** 2 * 4 ** -(1 - 0.8)
    assert two == pytest.approx(odds / (odds + 4))
    assert Beliefs(2).posterior([Vote("a", 1), Vote("b", 1)])[1] == pytest.approx(0.49 / (0.49 + 0.09))


def test_without_votes_every_class_is_as_likely() -> None:
    """No class prior is learned."""
    beliefs = beliefs_of([("ann", 2, 2)] * 50)
    assert beliefs.posterior([]) == pytest.approx([1 / 3] * 3)


def test_a_voter_asked_twice_is_no_second_opinion() -> None:
    """Repeated votes of one voter weigh as much as one."""
    beliefs = Beliefs(3)
    twice = beliefs.posterior([Vote("svm", 1), Vote("svm", 1)])
    assert twice == pytest.approx(beliefs.posterior([Vote("svm", 1)]))
    assert beliefs.posterior([Vote("svm", 1), Vote("svm", 2)]) == pytest.approx(
        beliefs.posterior([Vote("svm", 2), Vote("svm", 1)])
    )


@given(LEARNED, st.randoms(use_true_random=False), VOTES)
def test_learning_in_another_order_is_the_same_state(learned: list, random: object, votes: list[Vote]) -> None:  # type: ignore[type-arg]
    """A restart that reads what was decided in any order believes the same."""
    shuffled = list(learned)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = beliefs_of(learned), beliefs_of(shuffled)
    assert one.counts() == other.counts()
    assert np.array_equal(one.posterior(votes), other.posterior(votes))


@given(LEARNED, VOTES)
def test_a_state_stored_and_read_is_the_same(learned: list[tuple[str, int, int]], votes: list[Vote]) -> None:
    """`of_counts` undoes `counts`."""
    beliefs = beliefs_of(learned)
    beliefs.study(votes)
    again = Beliefs.of_counts(beliefs.counts())
    assert np.array_equal(again.posterior(votes), beliefs.posterior(votes))


@given(LEARNED, VOTES, st.permutations(range(3)))
def test_other_names_change_nothing(learned: list, votes: list[Vote], names: list[int]) -> None:  # type: ignore[type-arg]
    """Workers and labels are names: renamed, the posterior is the same under the new names."""
    plain = beliefs_of(learned).posterior(votes)
    renamed = beliefs_of([(w.upper(), names[s], names[t]) for w, s, t in learned])
    posterior = renamed.posterior([Vote(v.worker.upper(), names[v.label]) for v in votes])
    assert posterior[names] == pytest.approx(plain)


@given(LEARNED, VOTES, st.integers(0, 2))
def test_a_good_voters_vote_never_lowers_what_it_is_for(
    learned: list[tuple[str, int, int]], votes: list[Vote], label: int
) -> None:
    """One more vote for a class, of a voter better than chance, leaves its posterior no lower."""
    beliefs = beliefs_of(learned)
    for _ in range(20):
        beliefs.learn("eve", 0, 0)
    more = beliefs.posterior([*votes, Vote("eve", label)])
    assert more[label] >= beliefs.posterior(votes)[label] - 1e-12


TASKS = st.lists(VOTES, max_size=12)


def test_what_the_votes_of_a_task_teach() -> None:
    """By hand: three voters, two classes, each taken to be right 7 times in 10; two against one is 0.7.

    Who is right is borne out in 0.8291 (0.927 if both others are right, 0.7 if one is, 0.3 if none is; each is with
    0.75), who is wrong in 0.5148.
    """
    votes = [Vote("ann", 1), Vote("bob", 1), Vote("cid", 0)]
    told = 314
    assert [(worker, lesson.agreed, lesson.told) for worker, lesson in lessons(votes, 2)] == [
        ("ann", 700 * told, told), ("bob", 700 * told, told), ("cid", 300 * told, told)
    ]  # fmt: skip
    assert [lesson.agreed / lesson.told for _, lesson in lessons(votes[:2], 2)] == [845, 845]  # 0.49 / (0.49 + 0.09)
    assert lessons(votes[:1], 2) == []


def test_what_is_believed_then() -> None:
    """By hand, of the lessons of the test before; gold counts as it is, beside what was studied, which weighs five."""
    beliefs, x = Beliefs(2), 0.314
    beliefs.study([Vote("ann", 1), Vote("bob", 1), Vote("cid", 0)])
    crowd = (1.7 * x + 0.84) / (3 * x + 1.2)
    cid = (2.8 + crowd) / 5 + x * (0.3 - crowd) / (x * x + 3)
    assert beliefs.skill("ann") == pytest.approx((2.8 + crowd) / 5 + x * (0.7 - crowd) / (x * x + 3))
    assert beliefs.skill("cid") == pytest.approx(cid)
    beliefs.learn("cid", 0, 0)
    assert beliefs.skill("cid") == pytest.approx((5 * cid + 1) / 6)


def test_thousands_of_votes() -> None:
    """A task may have any number of them; no more is told than by a few dozen."""
    crowd = [Vote(f"w{n}", n % 3 == 0) for n in range(3000)]
    assert {lesson.told for _, lesson in lessons(crowd, 2)} == {lesson.told for _, lesson in lessons(crowd[:50], 2)}
    assert Beliefs(2).posterior(crowd)[0] == pytest.approx(1.0)


def test_a_model_that_is_alone_with_a_task_is_not_borne_out() -> None:
    """Nor is it by asking it again."""
    assert lessons([Vote("svm", 1), Vote("svm", 1)], 2) == []


@given(TASKS, st.randoms(use_true_random=False))
def test_studying_in_any_order_and_in_any_steps_is_the_same_state(tasks: list[list[Vote]], random: object) -> None:
    """Vote by vote as they come in, or each task at once at its end: a restart rebuilds the same state."""
    at_once, by_steps = Beliefs(3), Beliefs(3)
    for votes in tasks:
        at_once.study(votes)
    coming = [(index, vote) for index, votes in enumerate(tasks) for vote in votes]
    random.shuffle(coming)  # type: ignore[attr-defined]
    seen: list[list[Vote]] = [[] for _ in tasks]
    for index, vote in coming:
        before = list(seen[index])
        seen[index].append(vote)
        by_steps.study(seen[index], before)
    assert by_steps.counts() == at_once.counts()


@given(TASKS)
def test_what_was_studied_can_be_withdrawn(tasks: list[list[Vote]]) -> None:
    """Nothing of it stays."""
    beliefs = Beliefs(3)
    for votes in tasks:
        beliefs.study(votes)
    for votes in tasks:
        beliefs.study((), votes)
    assert beliefs.counts() == Beliefs(3).counts()


def test_memory_grows_with_the_voters_only() -> None:
    """A few numbers each, however many tasks they judge."""
    beliefs = Beliefs(2)
    for task in range(300):
        beliefs.study([Vote("ann", task % 2), Vote("bob", 1, 0.5), Vote("cid", 0)])
    assert sorted(beliefs.counts()["studied"]) == ["ann", "bob", "cid"]
    assert all(len(counts) == 4 for counts in beliefs.counts()["studied"].values())


@given(TASKS, VOTES)
def test_a_vote_is_no_evidence_for_itself(tasks: list[list[Vote]], votes: list[Vote]) -> None:
    """What a task's own votes taught is left out where it is looked at."""
    beliefs = Beliefs(3)
    for other in tasks:
        beliefs.study(other)
    before = beliefs.posterior(votes)
    beliefs.study(votes)
    assert beliefs.posterior(votes, votes).tolist() == before.tolist()


@pytest.mark.parametrize(
    "faults", [{}, {"classes": 4}, {"random": 0.2}, {"classes": 4, "constant": 0.1, "random": 0.1}]
)
def test_online_and_batch_agree(faults: dict[str, float]) -> None:
    """The bound of docs/truth.md: five judgments a task, skills within 0.06 in the mean, 96 of 100 answers alike."""
    crowd = simulate(Crowd(tasks=1000, workers=50, redundancy=5, seed=1, **faults))  # type: ignore[arg-type]
    ballots = Ballots.of(crowd.task, crowd.worker, crowd.label)
    votes: list[list[Vote]] = [[] for _ in range(ballots.tasks)]
    for task, worker, label in zip(crowd.task.tolist(), crowd.worker.tolist(), crowd.label.tolist(), strict=True):
        votes[task].append(Vote(str(worker), label))
    beliefs = Beliefs(ballots.classes)
    for some in votes:
        beliefs.study(some)
    online = answers(np.array([beliefs.posterior(some, some) for some in votes]), ballots.votes())
    batch = infer(ballots, "one-coin")
    assert (online == answers(batch.posterior, ballots.votes())).mean() >= 0.96
    assert batch.skill is not None
    busy = np.flatnonzero(np.bincount(crowd.worker) >= 10)
    skills = np.array([beliefs.skill(str(worker)) for worker in busy])
    assert np.abs(skills - batch.skill[busy]).mean() <= 0.06
