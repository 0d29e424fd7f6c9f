"""Plans of several stages: what is accepted, what is asked next, and that neither order nor repetition changes it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgpack
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from manyhands.broker import Delivery, Outgoing
from manyhands.deadletters import Cause, suite_letter
from manyhands.errors import StoreUnavailable
from manyhands.messages import Event, Failure, Judgments, Suite
from manyhands_aggregator import jobs, tables
from manyhands_aggregator.budget import Purse
from manyhands_aggregator.course import Accepted, Basis, Course
from manyhands_aggregator.truth.belief import Beliefs, Vote
from manyhands_service.store import Store
from tests.unit.aggregator.kit import NAMES, Bench, Job, delivery, from_letter, letters, open_store, said

#: Two judges that must agree; else a third; else people, up to four of them, until one answer is two ahead.
STAGES: list[Mapping[str, Any]] = [
    {"judges": ["one", "two"], "accept": {"agree": 2}},
    {"judges": ["three"], "accept": {"agree": 2}},
    {"judges": [{"people": 2}], "accept": {"margin": 2, "at_most": 4}},
]
#: What is looked at here is the way to the answers, and not what becomes of them in the end.
PLAIN: Mapping[str, Any] = {"method": "majority"}
#: The last of them alone.
PEOPLE: list[Mapping[str, Any]] = [{"judges": [{"people": 2}], "accept": {"margin": 2, "at_most": 4}}]


@pytest.fixture
def bench(store: Store) -> Bench:
    """An aggregator."""
    return Bench(store)


def job_of(stages: Sequence[Mapping[str, Any]] = STAGES, **more: Any) -> Job:
    """One suite of two tasks."""
    return Job(count=2, more={**PLAIN, "stages": list(stages), **more.pop("more", {})}, **more)


def asked(events: Sequence[Event]) -> list[tuple[int, str, int, list[int], str]]:
    """What is asked: stage, judge, slot, positions, reason."""
    keys = ("stage", "judge", "slot", "positions", "reason")
    return [tuple(e.data[k] for k in keys) for e in events if e.name == "suite.escalated"]


def names(events: Sequence[Event]) -> list[str]:
    """The names of events."""
    return [event.name for event in events]


def test_a_course_travels() -> None:
    """What was asked and accepted is the same when it comes back from the store; nothing takes no room."""
    one, three = (0, "one", 0), (1, "three", 0)
    course = Course({three: {4, 2}}, {3: Accepted("a", 0.9, 1, 0)})
    assert Course.unpack(course.pack()) == course
    course.accepted |= {
        1: Accepted("b", 0.7, 1, 0, Basis((one,), (0.7,))),
        4: Accepted("a", 1.0, 1, 1, Basis((three,))),
    }
    assert Course.unpack(course.pack()) == course
    earlier = msgpack.unpackb(course.pack() or b"", strict_map_key=False)
    assert earlier[1] == {1: ["b", 0.7, 1, 0], 3: ["a", 0.9, 1, 0], 4: ["a", 1.0, 1, 1]}  # an earlier version reads it
    assert Course().pack() is None
    assert Course.unpack(None) == Course()


def test_what_the_first_stage_agrees_on_goes_no_further(bench: Bench) -> None:
    """Only the task on which the judges differ is asked of the next stage; the answer says which stage gave it."""
    job = job_of()
    bench.take(*job.news())
    assert bench.events(job.judged(0, ["a", "a"], judge="one")) == []
    assert asked(bench.events(job.judged(0, ["a", "b"], judge="two"))) == [(1, "three", 0, [1], "unsure")]
    assert bench.counts(job) == (2, 0, 0, 0, 2)  # the suite is settled as a whole
    done = bench.events(job.judged(0, "b", judge="three", stage=1, positions=[1]))
    assert names(done) == ["suites.settled", "job.completed"]
    block = bench.answers(job)
    assert (block.values, block.counts, block.stages) == (["a", "b"], [2, 3], [0, 1])
    assert bench.counts(job) == (2, 2, 0, 0, 0)


def test_people_are_asked_until_the_answer_is_beyond_doubt(bench: Bench) -> None:
    """One more person at a time, in the next slot, until the margin is reached or at_most is."""
    job = job_of(PEOPLE)
    bench.take(*job.news())
    bench.take(job.judged(0, ["a", "a"], judge="people", slot=0, worker="ann"))
    more = bench.events(job.judged(0, ["a", "b"], judge="people", slot=1, worker="bob"))
    assert asked(more) == [(0, "people", 2, [1], "more")]
    more = bench.events(job.judged(0, "b", judge="people", slot=2, worker="cem", positions=[1]))
    assert asked(more) == [(0, "people", 3, [1], "more")]
    done = bench.events(job.judged(0, "a", judge="people", slot=3, worker="dee", positions=[1]))
    assert "job.completed" in names(done)
    block = bench.answers(job)
    assert (block.values[0], block.counts, block.stages) == ("a", [2, 4], None)
    assert block.confidences[1] == pytest.approx(0.5, abs=0.15)  # two against two: honestly no more


def test_a_person_counts_once_a_task(bench: Bench) -> None:
    """A second judgment of the same person is no vote: somebody else is asked in its place, and this has an end."""
    job = job_of(PEOPLE)
    bench.take(*job.news())
    bench.take(job.judged(0, "a", judge="people", slot=0, worker="ann"))
    events = bench.events(job.judged(0, "a", judge="people", slot=1, worker="ann"))
    assert asked(events) == [(0, "people", 2, [0, 1], "more")]
    slot = 2
    while asked(bench.events(job.judged(0, "a", judge="people", slot=slot, worker="ann"))):
        slot += 1
    assert slot == 7  # twice at_most
    assert bench.answers(job).counts == [1, 1]
    assert bench.state(job) == "complete"


def test_several_people_answer_one_suite(bench: Bench) -> None:
    """A slot's suite may come back in several messages, each of another person; both count."""
    job = job_of(PEOPLE)
    bench.take(*job.news())
    for slot, people in enumerate((("ann", "bob"), ("bob", "ann"))):
        for position, person in enumerate(people):
            bench.take(job.judged(0, "c", judge="people", slot=slot, worker=person, positions=[position]))
    assert (bench.answers(job).values, bench.answers(job).counts) == (["c", "c"], [2, 2])


def test_what_comes_twice_is_asked_twice(bench: Bench) -> None:
    """What was asked and not said goes out once more with a repeat, for the first may never have gone out."""
    job = job_of()
    bench.take(*job.news())
    messages = [job.judged(0, ["a", "a"], judge="one"), job.judged(0, ["a", "b"], judge="two")]
    first = asked(bench.events(*messages))
    again = asked(bench.events(*messages))
    assert [entry[:4] for entry in again] == [entry[:4] for entry in first] == [(1, "three", 0, [1])]
    assert again[0][4] == "asked-again"
    bench.take(job.judged(0, "b", judge="three", stage=1, positions=[1]))
    assert names(bench.events(*messages)) == ["suites.settled", "job.completed"]


def test_repeats_do_not_multiply(bench: Bench) -> None:
    """A judgment that comes twice leads to no more than one repeat of what was asked next, and that to none."""
    stages = [{"judges": [f"{name}{n}" for name in "abc"], "accept": {"agree": 99}} for n in range(5)]
    del stages[-1]["accept"]
    for twice, most in (("c0", 3), ("a0", 6)):
        job = Job(count=1, size=1, more={**PLAIN, "stages": stages})
        bench.take(*job.news())
        queue = [job.judged(0, judge[0], judge=judge) for judge in ("a0", "b0", "c0")]
        queue.append(next(message for message in queue if message.judge == twice))
        queue.sort(key=lambda message: message.judge == twice)  # once all others have been heard
        judged: Counter[int] = Counter()
        while queue:
            message = queue.pop(0)
            judged[message.stage] += 1
            for stage, judge, slot, _, _ in asked(bench.events(message)):
                queue.append(job.judged(0, judge[0], judge=judge, slot=slot, stage=stage))
        assert (judged[1], judged[2], judged[3], judged[4]) == (most, 3, 3, 3)


def test_what_may_not_have_gone_out_is_asked_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of any slot, where its message is delivered anew, or was committed by a transaction that seemed to fail."""
    stages = [{"judges": ["one"], "accept": {"agree": 2}}, {"judges": ["two"], "accept": {"agree": 3}}]
    job = Job(count=1, size=1, more={**PLAIN, "stages": [*stages, {"judges": ["three"]}]})
    bench.take(*job.news(), job.judged(0, "a"))
    message = job.judged(0, "b", judge="two", stage=1)
    assert names(bench.events(message)) == ["suite.escalated"]
    assert bench.events(message) == []
    anew = delivery(message)
    anew.redelivered = True
    assert [entry[:2] for entry in asked(bench.events(anew))] == [(2, "three")]

    def fails(work: Callable[[sa.Connection], Any]) -> Any:
        write(work)
        raise StoreUnavailable("gone")

    other = Job(count=1, size=1, more=job.more)
    bench.take(*other.news(), other.judged(0, "a"))
    write, waiting = bench.store.write, delivery(other.judged(0, "b", judge="two", stage=1))
    with monkeypatch.context() as patch:
        patch.setattr(bench.store, "write", fails)
        with pytest.raises(StoreUnavailable):
            bench.take(waiting)
    assert [entry[:2] for entry in asked(bench.events(waiting))] == [(2, "three")]

    def tries_again(work: Callable[[sa.Connection], Any]) -> Any:
        write(work)
        return write(work)

    third = Job(count=1, size=1, more=job.more)
    bench.take(*third.news(), third.judged(0, "a"))
    with monkeypatch.context() as patch:
        patch.setattr(bench.store, "write", tries_again)
        events = bench.events(third.judged(0, "b", judge="two", stage=1))
    assert [entry[:2] for entry in asked(events)] == [(2, "three")]


def test_nobody_asked_for_it(bench: Bench) -> None:
    """Judgments of a later stage count for the tasks that it was asked for, and for no others."""
    job = job_of()
    bench.take(*job.news())
    (letter,) = letters(bench.take(job.judged(0, "c", judge="three", stage=1)))
    assert letter.headers["mh-code"] == "stranger"
    bench.take(job.judged(0, ["a", "a"], judge="one"), job.judged(0, ["a", "b"], judge="two"))
    out = bench.take(job.judged(0, "c", judge="three", stage=1))  # of both tasks, and was asked for the second
    assert [letter.headers["mh-code"] for letter in letters(out)] == ["stranger"]
    assert [e[3] for e in asked(said(out))] == [[1]]


def test_failures_are_passed_on_too(bench: Bench) -> None:
    """A task that the judges of a stage fail goes on; if nobody has a value it fails with the first failure."""
    job = job_of([*STAGES[:2], {"judges": ["four"]}])
    bench.take(*job.news())
    bench.take(job.failed(0, judge="one", code="broken"))
    assert asked(bench.events(job.judged(0, "a", judge="two"))) == [(1, "three", 0, [0, 1], "unsure")]
    more = bench.events(job.failed(0, judge="three", stage=1, code="torn"))
    assert asked(more) == [(2, "four", 0, [0, 1], "unsure")]
    bench.take(job.judged(0, "a", judge="four", stage=2))
    assert (bench.answers(job).values, bench.answers(job).counts) == (["a", "a"], [2, 2])
    other = job_of([STAGES[0], {"judges": ["four"]}])
    bench.take(*other.news(), other.failed(0, judge="two", code="second"), other.failed(0, judge="one", code="first"))
    bench.take(other.failed(0, judge="four", stage=1, code="last"))
    assert bench.codes(other) == {0: "first", 1: "first"}
    assert bench.counts(other) == (2, 0, 2, 0, 0)


def test_a_dead_letter_of_a_later_stage_is_its_failure(bench: Bench) -> None:
    """A suite of the second stage that no worker could read counts as failed in that slot, and the job goes on."""
    job = job_of()
    bench.take(*job.news(), job.judged(0, "a", judge="one"), job.judged(0, "b", judge="two"))
    suite = Suite(job=job.id, suite=0, stage=1, judge="three", slot=0, positions=[0, 1], payloads=["x", "y"])
    letter = from_letter(suite_letter(NAMES, suite, Cause(code="unroutable", error="nobody", at=1.0)))
    assert asked(bench.events(letter)) == [(2, "people", 0, [0, 1], "unsure"), (2, "people", 1, [0, 1], "unsure")]


def test_a_late_value_answers_what_had_failed_and_changes_nothing_else(bench: Bench) -> None:
    """After the end a replayed task gets its answer; the other answers of its suite stand."""
    job = job_of([STAGES[0], {"judges": ["four"]}])
    bench.take(*job.news())
    bench.take(job.failed(0, judge="one", positions=[0]), job.judged(0, "b", judge="one", positions=[1]))
    bench.take(job.failed(0, judge="two", positions=[0]), job.judged(0, "b", judge="two", positions=[1]))
    bench.take(job.failed(0, judge="four", stage=1, positions=[0]))
    assert bench.counts(job) == (2, 1, 1, 0, 0)
    before = bench.answers(job)
    bench.take(job.judged(0, "c", judge="four", stage=1, positions=[0]))
    after = bench.answers(job)
    assert (after.values, after.stages) == (["c", "b"], [1, 0])
    assert after.confidences[1] == before.confidences[1]
    assert bench.counts(job) == (2, 2, 0, 0, 0)
    assert bench.state(job) == "complete"


def test_the_deadline_takes_what_there_is(bench: Bench) -> None:
    """Tasks that are still on their way through the plan are answered with what was said of them."""
    job = job_of(more={"deadline": 100.0})
    bench.take(*job.news(), job.judged(0, ["a", "a"], judge="one"), job.judged(0, ["a", "b"], judge="two"))
    bench.fake_clock.turn(1_000_000)
    bench.swept()
    assert bench.counts(job) == (2, 2, 0, 0, 0)
    assert bench.answers(job).counts == [2, 2]


def believed(bench: Bench, job: Job) -> Beliefs:
    """What this aggregator believes of a job's judges, made again from the store if it has not heard of the job."""
    plan = bench.store.read(lambda c: bench.intake._plans.get(c, job.id))
    assert plan is not None
    return bench.store.read(lambda c: bench.intake.minds.mind(c, job.id, plan).beliefs)


def test_a_restart_believes_the_same(bench: Bench) -> None:
    """What is believed of the judges is made again from the suites, settled or not, to the last count."""
    job = Job(count=8, truths=["a", None] * 4, more={**PLAIN, "stages": STAGES})
    bench.take(*job.news())
    for suite in range(4):
        bench.take(job.judged(suite, ["a", "b"], judge="one"))
        bench.take(job.judged(suite, ["a", "a"], judge="two"))
        assert believed(Bench(bench.store), job).counts() == believed(bench, job).counts()
        if suite < 3:
            bench.take(job.judged(suite, "b", judge="three", stage=1, positions=[2 * suite + 1]))
    assert believed(Bench(bench.store), job).counts() == believed(bench, job).counts()
    assert believed(bench, job).skill("one") > believed(bench, job).skill("two")


def test_suites_under_way_teach(bench: Bench) -> None:
    """Every message does, not only the last of a suite; in the end gold teaches in the place of votes."""
    job = Job(count=2, truths=["a", None], more={"stages": STAGES})
    bench.take(*job.news())
    bench.take(job.judged(0, ["a", "b"], judge="one"))
    assert believed(bench, job).counts()["studied"] == {}
    bench.take(job.judged(0, ["a", "a"], judge="two"))
    votes = {"one": ("a", "b"), "two": ("a", "a")}
    again = Beliefs(3)
    for task in (0, 1):
        again.study([Vote(judge, "abc".index(values[task])) for judge, values in votes.items()])
    assert believed(bench, job).counts() == again.counts()
    bench.take(job.judged(0, "b", judge="three", stage=1, positions=[1]))
    settled = Beliefs(3)
    for judge in votes:
        settled.learn(judge, 0, 0)
    settled.study([Vote("one", 1), Vote("two", 0), Vote("three", 1)])
    assert believed(bench, job).counts() == settled.counts()


def test_confidence_of_believed_judges(bench: Bench) -> None:
    """With gold a judge earns belief, and then what it says alone is accepted at the first stage."""
    stages: list[Mapping[str, Any]] = [{"judges": ["one"], "accept": {"confidence": 0.9}}, {"judges": ["two", "three"]}]
    job = Job(count=80, size=40, truths=["a"] * 80, more={**PLAIN, "stages": stages})
    bench.take(*job.news())
    before = asked(bench.events(job.judged(0, judge="one")))
    assert [entry[:3] for entry in before] == [(1, "two", 0), (1, "three", 0)]
    bench.take(job.judged(0, judge="two", stage=1), job.judged(0, judge="three", stage=1))
    assert asked(bench.events(job.judged(1, judge="one"))) == []
    assert bench.state(job) == "complete"
    assert bench.answers(job).stages == [1] * 40 + [0] * 40


def test_numbers_go_through_a_plan_too(bench: Bench) -> None:
    """Values of other types are compared with one another: the confidence is what the method says of them."""
    answer = {"type": "number", "min": 0, "max": 10}
    stages: list[Mapping[str, Any]] = [
        {"judges": ["one", "two"], "accept": {"confidence": 0.95}},
        {"judges": ["three"]},
    ]
    job = job_of(stages, more={"answer": answer, "method": "mean"})
    bench.take(*job.news())
    more = bench.events(job.judged(0, [1.0, 1.0], judge="one"), job.judged(0, [1.2, 9.0], judge="two"))
    assert asked(more) == [(1, "three", 0, [1], "unsure")]
    bench.take(job.judged(0, [8.0], judge="three", stage=1, positions=[1]))
    assert bench.answers(job).values == [1.1, 6.0]


@pytest.mark.parametrize("answer", [{"type": "number", "min": 0, "max": 10}, {"type": "text"}, {"type": "json"}])
def test_confidence_is_believed_as_far_as_it_came_true_whatever_the_type(bench: Bench, answer: dict[str, Any]) -> None:
    """A sure judge is asked behind until gold bears it out; one that is as sure and wrong is never believed."""
    stages: list[Mapping[str, Any]] = [
        {"judges": ["one"], "accept": {"confidence": 0.9}},
        {"judges": ["two"], "accept": {"agree": 2}},
        {"judges": ["three"]},
    ]
    right, wrong = (5.0, 9.0) if answer["type"] == "number" else ("a", "b")
    method = "median" if answer["type"] == "number" else "majority"

    def second_suite(said: Any, *, gold: bool) -> list[int]:
        job = Job(count=80, size=40, truths=[right] * 80 if gold else None,
                  more={"stages": stages, "answer": answer, "method": method})  # fmt: skip
        bench.take(*job.news())
        sure: dict[str, Any] = {"confidences": [0.99] * 40}
        (escalated,) = asked(bench.events(job.judged(0, said, judge="one", **sure)))
        assert escalated[3] == list(range(40))  # nothing is believed yet
        more = asked(bench.events(job.judged(0, right, judge="two", stage=1)))
        if more:
            bench.take(job.judged(0, right, judge="three", stage=2, positions=more[0][3]))
        assert believed(Bench(bench.store), job).counts() == believed(bench, job).counts()
        return [len(e[3]) for e in asked(bench.events(job.judged(1, said, judge="one", **sure)))]

    assert second_suite(right, gold=True) == []
    assert second_suite(right, gold=False) == []  # another judge bears it out
    assert second_suite(wrong, gold=True) == [40]


# -- any order, any repetition -----------------------------------------------------------------------------------------


class World:
    """Judges of whom it is fixed what they say of a task in a slot; None is a failure."""

    def __init__(self, store: Store, job: Job, seed: int) -> None:
        self.bench, self.job, self.seed = Bench(store), job, seed
        # what is believed depends on which suite was settled first; here it is always the same
        setattr(self.bench.intake.minds, "learn", lambda _: None)  # noqa: B010
        self.ever: set[tuple[int, str, int, int]] = set()

    def says(self, position: int, stage: int, judge: str, slot: int) -> tuple[str | None, str]:
        """What is said of it, and by whom."""
        chance = random.Random(f"{self.seed}/{position}/{stage}/{judge}/{slot}")
        return chance.choice(["a", "a", "a", "b", "c", None]), chance.choice(["ann", "bob", "cem"])

    def messages(self, suite: int, stage: int, judge: str, slot: int, positions: Sequence[int]) -> Iterator[Judgments]:
        """The judgments of a suite: of people each task by its person."""
        for position in positions:
            value, person = self.says(position, stage, judge, slot)
            more: dict[str, Any] = {"stage": stage, "slot": slot, "judge": judge, "positions": [position]}
            more["worker"] = person if judge == "people" else "w"
            yield self.job.judged(suite, [value], **more) if value else self.job.failed(suite, **more)

    def run(self, chance: random.Random) -> tuple[Any, ...]:
        """From the news to the end, in an order of chance, some messages twice; what came of it."""
        job = self.job
        self.bench.take(*job.news())
        waiting: list[Delivery] = []
        for suite in range(job.suites):
            for judge in ("one", "two"):
                waiting += map(delivery, self.messages(suite, 0, judge, 0, job.sent(suite)))
        for _ in range(2000):
            if not waiting:
                break
            chance.shuffle(waiting)
            some = [waiting.pop() for _ in range(min(len(waiting), chance.randint(1, 5)))]
            waiting += chance.sample(some, chance.randint(0, len(some)) // 2)  # they come again later
            waiting += self.answered(self.bench.take(*some))
            self.bench.counts(job)
        assert not waiting
        block = self.bench.answers(job)
        codes = {index: failure.code for index, failure in block.errors.items()}
        return self.bench.state(job), block.values, block.confidences, block.counts, block.stages, codes, self.ever

    def answered(self, out: Sequence[Outgoing]) -> Iterator[Delivery]:
        """What judges say to what goes out."""
        for event in said(out):
            if event.name == "suite.escalated":
                stage, judge, slot, positions, _ = asked([event])[0]
                self.ever |= {(stage, judge, slot, position) for position in positions}
                yield from map(delivery, self.messages(event.data["suite"], stage, judge, slot, positions))


@pytest.fixture(scope="module")
def one_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store for many examples."""
    store = open_store(f"sqlite:///{tmp_path_factory.mktemp('cascade') / 'test.db'}")
    yield store
    store.close()


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), order=st.integers(0, 10**6))
def test_order_and_repetition_change_nothing(one_store: Store, seed: int, order: int) -> None:
    """Whatever comes first, late or twice: the same answers, and the same slots asked for the same tasks."""
    refused = {1: Failure(code="bad-row", message="no")}

    def outcome(chance: int) -> tuple[Any, ...]:
        job = Job(count=6, size=3, more={**PLAIN, "stages": STAGES}, refused=refused)
        return World(one_store, job, seed).run(random.Random(chance))

    first = outcome(0)
    assert outcome(order) == first
    assert first[0] == "partial"


#: Everything goes on to the second stage, as far as the budget goes.
PAID: list[Mapping[str, Any]] = [
    {"judges": [{"judge": "one", "price": 0.5}], "accept": {"agree": 2}},
    {"judges": [{"judge": "two", "price": 1}]},
]


def spent(bench: Bench, job: Job) -> int:
    """What the job's account says was spent beside the first stage's price, in millionths."""
    asked = sa.select(tables.jobs.c.spent).where(tables.jobs.c.job == job.id)
    found: int = bench.store.read(lambda c: c.execute(asked).scalar_one())
    return found


@pytest.mark.parametrize(
    ("costs", "positions", "millions"),
    [
        (None, [0, 1], 2), ([0.5, 0.5], [0, 1], 2), ([0, 0.00025], [0, 1], 1.00025), ([1, 1], [0], 2),
        ([1.25, None], [0], 1.75), ([9, 9], [], 17), ([1e300, 0.5], [], 1e6 - 0.5),
    ],
)  # fmt: skip
def test_what_judgments_cost_counts_against_the_budget(
    bench: Bench, costs: Sequence[float | None] | None, positions: Sequence[int], millions: float
) -> None:
    """In the place of the price that was reckoned with; before anything more is asked, and not again when repeated."""
    job = job_of(PAID, more={"budget": 3})
    bench.take(*job.news())
    message = job.judged(0, ["a", "b"], costs=costs)
    first = asked(bench.events(message))
    assert [p for one in first for p in one[3]] == list(positions)
    assert bench.progress(job)["spent"] == pytest.approx(millions + 1)
    assert spent(bench, job) == round(millions * 1e6)
    again = asked(bench.events(message, message))
    assert [one[:4] for one in again] == [one[:4] for one in first]
    assert spent(bench, job) == round(millions * 1e6)


def test_a_small_budget_goes_where_it_changes_most(bench: Bench) -> None:
    """Of two tasks that both would have a third opinion, the one that is level gets it."""
    stages: list[Mapping[str, Any]] = [
        {"judges": ["one", "two"], "accept": {"confidence": 0.99}},
        {"judges": [{"judge": "three", "price": 1}]},
    ]
    job = job_of(stages, more={"budget": 1})
    bench.take(*job.news())
    more = bench.events(job.judged(0, ["a", "a"], judge="one"), job.judged(0, ["a", "b"], judge="two"))
    assert asked(more) == [(1, "three", 0, [1], "unsure")]
    bench.take(job.judged(0, "b", judge="three", stage=1, positions=[1]))
    assert (bench.answers(job).values, bench.answers(job).counts) == (["a", "b"], [2, 3])


def test_costs_without_a_budget(bench: Bench) -> None:
    """They are counted in a plan of one stage as well, in whatever order messages come; a failure costs nothing."""
    job = Job(count=4, judges=["one"])
    bench.take(*job.news())
    assert "spent" not in bench.progress(job)
    bench.take(job.judged(1, costs=[0.25, 0.125]), job.failed(0), job.judged(1, costs=[0.25, 0.125]))
    assert spent(bench, job) == 375_000
    bench.take(job.judged(0, costs=[0.5, None]))
    assert spent(bench, job) == 875_000


def test_the_budget_ends_the_way_through_the_plan(bench: Bench) -> None:
    """What cannot be paid is not asked: the task is answered with what there is, and the job says why."""
    stages = [
        {"judges": [{"judge": "one", "price": 0.1}], "accept": {"agree": 2}},
        {"judges": [{"judge": "two", "price": 1.0}]},
    ]
    job = Job(count=4, size=4, more={**PLAIN, "stages": stages, "budget": 2.5})
    bench.take(*job.news())
    ((stage, judge, _, positions, reason),) = asked(bench.events(job.judged(0, judge="one")))
    assert (stage, judge, len(positions), reason) == (1, "two", 2, "unsure")  # 0.4 are spent, 2 more may be
    bench.take(job.judged(0, "b", judge="two", stage=1, positions=positions))
    assert bench.counts(job) == (4, 4, 0, 0, 0)
    assert sorted(bench.answers(job).counts) == [1, 1, 2, 2]
    progress = bench.progress(job)
    assert (progress["state"], progress["reason"], progress["spent"]) == ("complete", "budget", 2.4)


def test_tasks_that_the_budget_did_not_pay_for(bench: Bench) -> None:
    """They were refused by the producer: the job ends partial, and says that it was the budget."""
    job = Job(count=2, refused={1: Failure(code="budget", message="the budget pays for 1 task")})
    bench.take(*job.news(), job.judged(0, positions=[0]))
    assert bench.counts(job) == (2, 1, 1, 0, 0)
    assert (bench.state(job), bench.progress(job)["reason"]) == ("partial", "budget")
    assert bench.codes(job) == {1: "budget"}


def test_others_spend_at_the_same_time(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A replica that has spent in between is seen before the commit, and the decision made anew."""
    stages = [{"judges": ["one"], "accept": {"agree": 2}}, {"judges": [{"judge": "two", "price": 1.0}]}]
    job = Job(count=2, size=1, more={**PLAIN, "stages": stages, "budget": 1.0})
    bench.take(*job.news())
    real, stale = jobs.purse, [True]

    def late(*arguments: Any) -> Purse:
        purse = real(*arguments)
        return replace(purse, spent=0) if stale and stale.pop() else purse

    assert len(asked(bench.events(job.judged(0, judge="one")))) == 1
    monkeypatch.setattr(jobs, "purse", late)
    assert asked(bench.events(job.judged(1, judge="one"))) == []
    assert stale == []
    assert bench.progress(job)["spent"] == 1.0


def test_an_audit_knows_what_later_stages_owe(bench: Bench) -> None:
    """What was asked of the next stage and not said is a message somewhere; what was said of it is none."""
    job = job_of()
    bench.take(*job.news(), job.judged(0, ["a", "a"], judge="one"), job.judged(0, ["b", "b"], judge="two"))
    account = bench.audit(job)
    assert (account["slots"], account["whole"], account["asked"]) == (2, 2, 1)
    bench.take(job.judged(0, ["c"], judge="three", stage=1, positions=[0]))
    assert bench.audit(job)["asked"] == 3  # the other task of the second stage, and two people for this one
    bench.take(job.judged(0, ["a"], judge="three", stage=1, positions=[1]))
    assert bench.audit(job)["asked"] == 2


SURE_OF_TWO: Sequence[Mapping[str, Any]] = [{"judges": ["one"], "accept": {"agree": 2}}, {"judges": ["two"]}]


def test_what_is_half_a_repeat_asks_again(bench: Bench) -> None:
    """Killed between commit and publish: the message comes again, and what is invalid in it hides no lost request."""
    job = job_of(stages=SURE_OF_TWO)
    bench.take(*job.news())
    message = job.judged(0, ["a", "none of the options"], judge="one")
    first = asked(bench.events(message))
    assert any(judge == "two" for _, judge, *_ in first)
    assert [one[:4] for one in asked(bench.events(message))] == [one[:4] for one in first]


def test_what_is_asked_for_the_first_time_hides_no_lost_request(bench: Bench) -> None:
    """The same slot is asked for one task now, and was for another by a message that comes again: it is for both."""
    job = job_of(stages=SURE_OF_TWO)
    bench.take(*job.news())
    first = job.judged(0, "a", judge="one", positions=[0])
    bench.take(first)
    more = asked(bench.events(first, job.judged(0, "a", judge="one", positions=[1])))
    assert sorted(one[1:] for one in more) == [("two", 0, [0], "asked-again"), ("two", 0, [1], "unsure")]


def test_what_is_published_again_asks_again(bench: Bench) -> None:
    """The broker lost what was asked, and the first judge, asked again, has a value where it had failed."""
    job = job_of(stages=SURE_OF_TWO)
    bench.take(*job.news())
    failed = job.judged(0, ["a", None], judge="one", errors={1: Failure(code="error", message="once")})
    assert any(judge == "two" for _, judge, *_ in asked(bench.events(failed)))
    again = asked(bench.events(job.judged(0, ["a", "b"], judge="one")))
    assert {p for _, judge, _, positions, *_ in again if judge == "two" for p in positions} == {0, 1}
