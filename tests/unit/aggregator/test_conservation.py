"""The conservation law: whatever order, repetition and delay messages come in, every task ends in one account."""

from __future__ import annotations

import random
from collections.abc import Sequence

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from manyhands.broker import Delivery
from manyhands.messages import Event, Failure, Judgments, Message
from manyhands_aggregator import jobs
from manyhands_service.store import Store
from tests.unit.aggregator.kit import OPTIONS, Bench, Job, from_letter, letters

JUDGES = ["one", "two"]


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Job, list[Message]]:
    """A job, and every message that will ever be sent of it: values, failures, invalid answers and their repair."""
    count, size = draw(st.integers(0, 9)), draw(st.integers(1, 4))
    refused = draw(st.sets(st.integers(0, 8), max_size=4)) & set(range(count))
    failures = {p: Failure(code="too-large", message="m") for p in refused}
    job = Job(count=count, size=size, judges=JUDGES, refused=failures, more={"max_attempts": 2})
    messages: list[Message] = [job.opened(), job.sealed()]
    suites = list(range(job.suites))
    cut = draw(st.integers(0, len(suites)))
    messages += [job.announced(*part) for part in (suites[:cut], suites[cut:]) if part]
    for suite in suites:
        for judge in JUDGES:
            messages += draw(_of_slot(job, suite, judge)) if job.sent(suite) else []
    return job, messages


@st.composite
def _of_slot(draw: st.DrawFn, job: Job, suite: int, judge: str) -> list[Message]:
    """One slot's messages: the suite in parts, each task with a value, a failure, or an invalid value and a repair.

    A strange slot names a position of another job at first, so that all of it is judged again.
    """
    positions = job.sent(suite)
    fates = {p: draw(st.sampled_from(["value", "value", "value", "error", "invalid", "hopeless"])) for p in positions}
    values = {p: draw(st.sampled_from(OPTIONS)) for p in positions}
    strange = draw(st.integers(0, 4)) == 0

    def message(some: Sequence[int], *, attempt: int = 1) -> Judgments:
        failed = {p: Failure(code="error", message="m") for p in some if fates[p] == "error"}
        wrong = {"hopeless"} if attempt == 2 else {"hopeless", "invalid"}
        said = [None if p in failed else "?" if fates[p] in wrong else values[p] for p in some]
        more = [999] if strange and attempt == 1 else []
        return job.judged(
            suite, said + ["a"] * len(more), judge=judge, positions=[*some, *more], errors=failed, attempt=attempt
        )

    at = draw(st.integers(0, len(positions)))
    messages: list[Message] = [message(part) for part in (positions[:at], positions[at:]) if part]
    again = [p for p in positions if strange or fates[p] in ("invalid", "hopeless")]
    return messages + ([message(again, attempt=2)] if again else [])


def _run(bench: Bench, messages: Sequence[Message], seed: int) -> None:
    """Messages in a shuffled order, in batches, many of them twice; letters come back, upkeep comes in between."""
    chance = random.Random(seed)
    todo: list[Message | Delivery] = [*messages, *chance.sample(messages, chance.randint(0, len(messages)))]
    chance.shuffle(todo)
    while todo:
        size = chance.randint(1, 5)
        batch, todo = todo[:size], todo[size:]
        todo += map(from_letter, letters(bench.take(*batch)))
        if chance.random() < 0.3:
            bench.swept()
    bench.swept()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(world=worlds(), seeds=st.tuples(st.integers(), st.integers()))
def test_any_order_leads_to_the_same_end(
    store: Store, world: tuple[Job, list[Message]], seeds: tuple[int, int]
) -> None:
    """Two jobs alike, their messages shuffled and repeated differently, end alike; counters equal rows."""
    job, messages = world
    twin = Job(job.count, job.size, job.judges, job.more, job.refused)
    bench = Bench(store)
    _run(bench, messages, seeds[0])
    _run(bench, [_renamed(m, twin.id) for m in messages], seeds[1])
    assert bench.answers(job) == bench.answers(twin)
    assert bench.counts(job) == bench.counts(twin)
    assert bench.progress(job)["judgments"] == bench.progress(twin)["judgments"]
    tasks, answered, failed, cancelled, left = bench.counts(job)
    assert (tasks, cancelled, left) == (job.count, 0, 0)
    assert bench.state(job) == ("partial" if failed else "complete")
    assert answered + failed == tasks


def _renamed(message: Message, job: str) -> Message:
    fields = {name: getattr(message, name) for name in type(message).__dataclass_fields__}
    return type(message)(**{**fields, "job": job})


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(world=worlds(), seed=st.integers(), cut=st.integers(0, 40), how=st.sampled_from(["cancel", "deadline"]))
def test_an_end_at_any_moment_conserves(
    store: Store, world: tuple[Job, list[Message]], seed: int, cut: int, how: str
) -> None:
    """Cancelled or overdue between any two messages, with the rest coming afterwards, every task is accounted for."""
    job, messages = world
    job.more = {**job.more, "deadline": 10} if how == "deadline" else job.more
    bench = Bench(store)
    chance = random.Random(seed)
    order = [job.opened() if isinstance(m, Event) and m.name == "job.opened" else m for m in messages]
    chance.shuffle(order)
    _run(bench, order[:cut], seed)
    if how == "cancel":
        bench.take(job.cancelled())
    else:
        bench.fake_clock.turn(11)
        bench.swept()
    if store.read(lambda c: jobs.states(c, [job.id])):
        bench.audit(job)
    _run(bench, order, seed)
    tasks, _, _, cancelled, left = bench.counts(job)
    assert (tasks, left) == (job.count, 0)
    assert how == "cancel" or cancelled == 0
    assert bench.state(job) != "open"
