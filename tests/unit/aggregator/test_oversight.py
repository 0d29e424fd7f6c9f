"""The rules of a job act on its workers: they are rated, what they say does not count, and others are asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from manyhands import metrics
from manyhands.broker import Outgoing
from manyhands.errors import BrokerUnavailable
from manyhands.messages import Event, Failure
from manyhands_aggregator import oversight, ratings
from manyhands_aggregator.ratings import Rating
from manyhands_service.store import Store
from tests.unit.aggregator.kit import Bench, Job, letters, open_store, said

#: Tasks by whose truth workers are known, in suites of two; and two tasks more.
KNOWN = 60
#: Whoever is bad goes for good.
RULES: Mapping[str, Any] = {"warn": False, "pause": False, "retire": {"accuracy": 0.6}}
#: And nobody.
NOBODY: Mapping[str, Any] = {"warn": False, "pause": False, "retire": False}
#: What was measured of whom nobody has measured.
NO_MEASURE: Mapping[str, Any] = dict.fromkeys(ratings.TOLD)
#: What a judge says of a task that it has no answer to.
TORN = {3: Failure(code="torn", message="torn")}
#: Two people, and more of them until two more say one thing than say the next.
PEOPLE: Sequence[Mapping[str, Any]] = [{"judges": [{"people": 2}], "accept": {"margin": 2, "at_most": 4}}]


@pytest.fixture
def bench(store: Store) -> Bench:
    """An aggregator."""
    return Bench(store)


def job_of(stages: Sequence[Mapping[str, Any]] = PEOPLE, rules: Mapping[str, Any] = RULES) -> Job:
    """A job whose first tasks are gold, and all b."""
    truths = ["b"] * KNOWN + [None, None]
    return Job(count=KNOWN + 2, truths=truths, more={"stages": list(stages), "quality": rules})


def asked(events: Sequence[Event]) -> list[tuple[str, int, list[int]]]:
    """What is asked: judge, slot, positions."""
    return [(e.data["judge"], e.data["slot"], e.data["positions"]) for e in events if e.name == "suite.escalated"]


def exposed(bench: Bench, job: Job, judge: str = "people", bad: str = "eve") -> None:
    """One worker is wrong about all gold, two are right; the suites of gold are settled."""
    bench.take(*job.news())
    for suite in range(KNOWN // 2):
        for slot, (worker, value) in enumerate(((bad, "a"), ("ann", "b"), ("bob", "b"), ("fay", "b"))):
            name = judge if worker == bad else "people"
            bench.take(job.judged(suite, value, judge=name, worker=worker, slot=0 if name != "people" else slot))


def retired(bench: Bench, job: Job, worker: str) -> list[Outgoing]:
    """A worker is retired, and this is acted on; what goes out."""
    rating = Rating(worker, "retire", ("said so",), NO_MEASURE)
    bench.store.write(lambda c: ratings.note(c, job.id, [rating], 1.0))
    return bench.swept()


def rated(bench: Bench, job: Job) -> dict[str, str | None]:
    """The ratings there are."""
    return {name: rating.action for name, rating in bench.store.read(lambda c: ratings.known(c, job.id)).items()}


def test_what_rests_on_a_retired_worker_is_judged_anew(bench: Bench) -> None:
    """Accepted on two votes, of which one counts no more: another is asked; so it is of the task that was open."""
    job = job_of()
    exposed(bench, job)
    last = KNOWN // 2
    bench.take(job.judged(last, ["a", "a"], judge="people", slot=0, worker="eve"))
    more = bench.events(job.judged(last, ["a", "b"], judge="people", slot=1, worker="fay"))
    assert asked(more) == [("people", 2, [KNOWN + 1])]
    events = said(bench.swept())
    assert rated(bench, job) == {"people/eve": "retire"}
    assert asked(events) == [("people", 2, [KNOWN])]
    bench.take(job.judged(last, ["b", "b"], judge="people", slot=2, worker="ann"))
    done = bench.take(job.judged(last, ["b"], judge="people", slot=3, worker="bob", positions=[KNOWN]))
    assert asked(said(done))  # fay said a, ann and bob b
    bench.take(job.judged(last, ["b"], judge="people", slot=4, worker="gus", positions=[KNOWN]))
    assert bench.answers(job).values[-2:] == ["b", "b"]
    bench.swept()
    assert bench.answers(job).values[-2:] == ["b", "b"]
    assert bench.state(job) == "complete"
    bench.audit(job)


def test_a_retired_worker_is_no_voter(bench: Bench) -> None:
    """What it says from then on leaves its slot to others; and alone it is still better than no answer."""
    job = job_of()
    exposed(bench, job)
    bench.swept()
    last = KNOWN // 2
    bench.take(job.judged(last, "a", judge="people", slot=0, worker="eve"))
    events = bench.events(job.judged(last, "b", judge="people", slot=1, worker="ann"))
    assert asked(events) == [("people", 2, [KNOWN, KNOWN + 1])]
    assert asked(bench.events(job.judged(last, "b", judge="people", slot=2, worker="bob"))) == []
    assert bench.answers(job).values[-2:] == ["b", "b"]
    assert bench.answers(job).counts[-2:] == [2, 2]


def test_a_machine_that_is_out_is_not_waited_for(bench: Bench) -> None:
    """The producer no longer asks it in the first stage; the others of the stage decide, and it may still speak."""
    job = job_of([{"judges": ["svm", "forest"], "accept": {"agree": 1}}, {"judges": ["model"]}], NOBODY)
    found = [Rating("svm", "retire", ("said so",), {})]
    bench.take(*job.news())
    bench.store.write(lambda c: ratings.note(c, job.id, found, 1.0))
    assert asked(bench.events(job.judged(0, "b", judge="forest"))) == []
    assert bench.answers(job).values[:2] == ["b", "b"]
    bench.take(job.judged(0, "a", judge="svm"))  # of what it was asked before it was retired
    assert bench.answers(job).values[:2] == ["b", "b"]
    for suite in range(1, KNOWN // 2 + 1):
        bench.take(job.judged(suite, "b", judge="forest"))
    bench.swept()
    assert bench.state(job) == "complete"
    bench.audit(job)


def test_nobody_speaks_twice_for_a_machine_that_is_out(bench: Bench) -> None:
    """What it does not say costs no second judgment of another model: the next stage is asked."""
    job = job_of([{"judges": ["svm", "forest"], "accept": {"agree": 2}}, {"judges": ["model", "m"]}], NOBODY)
    bench.take(*job.news())
    for worker in ("svm", "m"):
        found = [Rating(worker, "retire", ("said so",), {})]
        bench.store.write(lambda c, f=found: ratings.note(c, job.id, f, 1.0))  # type: ignore[misc]
    assert asked(bench.events(job.judged(0, "b", judge="forest"))) == [("model", 0, [0, 1])]
    bench.take(job.judged(1, "a", judge="svm"))
    assert asked(bench.events(job.judged(1, "b", judge="forest"))) == [("model", 0, [2, 3])]
    assert asked(bench.events(job.judged(0, "b", judge="model", stage=1))) == []
    assert bench.answers(job).values[:2] == ["b", "b"]


def test_machines_that_are_all_out_are_waited_for(bench: Bench) -> None:
    """Somebody must speak for the next stage to be asked."""
    job = job_of([{"judges": ["svm"], "accept": {"agree": 1}}, {"judges": ["model"]}], NOBODY)
    bench.take(*job.news())
    bench.store.write(lambda c: ratings.note(c, job.id, [Rating("svm", "retire", ("said so",), {})], 1.0))
    assert asked(bench.events(job.judged(0, "a", judge="svm"))) == [("model", 0, [0, 1])]


def test_of_machines_that_are_all_out_one_is_waited_for(bench: Bench) -> None:
    """The first was retired before the suite went out, so only the second was sent it: that is out by now, too."""
    job = job_of([{"judges": ["svm", "forest"], "accept": {"agree": 2}}, {"judges": ["model"]}], NOBODY)
    bench.take(*job.news())
    retired(bench, job, "svm")
    assert asked(bench.events(job.judged(0, "b", judge="forest", positions=[0]))) == [("model", 0, [0])]
    assert asked(said(retired(bench, job, "forest"))) == [("model", 0, [0])]  # once more: it may not have gone out
    assert asked(bench.events(job.judged(0, "b", judge="forest", positions=[1]))) == [("model", 0, [1])]


def test_who_has_spoken_before_a_machine_is_retired_waits_for_it_no_more(bench: Bench) -> None:
    """Its workers may be stopped, and then nothing of those suites would ever come."""
    job = job_of([{"judges": ["svm", "forest"], "accept": {"agree": 1}}, {"judges": ["model"]}], NOBODY)
    bench.take(*job.news(), job.judged(0, "b", judge="forest"), job.judged(1, ["b", None], judge="forest", errors=TORN))
    events = said(retired(bench, job, "svm"))
    assert [e.data["suites"] for e in events if e.name == "suites.settled"] == [[0]]
    assert asked(events) == [("model", 0, [3])]
    assert bench.counts(job)[1] == 2
    assert said(retired(bench, job, "people/eve")) == [
        Rating("people/eve", "retire", ("said so",), NO_MEASURE).event(job.id)
    ]


def test_a_judgment_that_was_taken_in_while_a_machine_was_retired(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waited for it was looked at before this was there; so this must not wait for it either."""
    job = job_of([{"judges": ["svm", "forest"], "accept": {"agree": 1}}, {"judges": ["model"]}], NOBODY)
    bench.take(*job.news())
    retired(bench, job, "svm")
    real, stale = ratings.out, [True]
    monkeypatch.setattr(ratings, "out", lambda *given: frozenset() if stale and stale.pop() else real(*given))
    bench.take(job.judged(0, "b", judge="forest"))
    assert stale == []
    assert bench.answers(job).values[:2] == ["b", "b"]


def test_one_who_is_out_has_one_vote_where_there_is_no_other(bench: Bench) -> None:
    """It is better than no answer, but no more than one person's word, however often that was asked."""
    job = job_of([{"judges": [{"people": 2}], "accept": {"agree": 2, "at_most": 2}}], NOBODY)
    bench.take(*job.news())
    retired(bench, job, "people/eve")
    for slot in range(4):
        bench.take(job.judged(0, "b", judge="people", slot=slot, worker="eve"))
    assert (bench.answers(job).values[:2], bench.answers(job).counts[:2]) == (["b", "b"], [1, 1])


def test_a_machine_that_is_out_is_not_asked(bench: Bench) -> None:
    """The stage behind it is, or the others of its stage; nobody waits for it in vain."""
    stages: list[Mapping[str, Any]] = [
        {"judges": [{"people": 2}], "accept": {"margin": 2}},
        {"judges": ["model"], "accept": {"margin": 2}},
        {"judges": [{"people": 1}]},
    ]
    job = job_of(stages)
    exposed(bench, job)
    last = KNOWN // 2
    for worker, rating in (("model", "retire"), ("people/ann", "warn")):
        found = [Rating(worker, rating, ("said so",), {})]
        bench.store.write(lambda c, f=found: ratings.note(c, job.id, f, 1.0))  # type: ignore[misc]
    bench.take(job.judged(last, "a", judge="people", slot=0, worker="ann"))
    events = bench.events(job.judged(last, "b", judge="people", slot=1, worker="bob"))
    assert [(e.data["stage"], e.data["judge"]) for e in events if e.name == "suite.escalated"] == [(2, "people")]


def test_who_is_retired_stays_so_and_who_is_paused_may_come_back(bench: Bench) -> None:
    """Only what is new is told."""

    def note(*found: tuple[str, str | None]) -> list[tuple[str, str | None]]:
        given = [Rating(name, action, ("why",), {"judgments": 1}) for name, action in found]
        news = bench.store.write(lambda c: ratings.note(c, "j", given, 1.0))
        return [(rating.worker, rating.action) for rating in news]

    assert note(("x", "pause"), ("y", "retire"), ("z", None)) == [("x", "pause"), ("y", "retire")]
    assert bench.store.read(lambda c: ratings.out(c, "j")) == {"x", "y"}
    assert note(("x", "pause"), ("y", None)) == []
    assert note(("x", None), ("y", "warn")) == [("x", None)]
    assert bench.store.read(lambda c: ratings.out(c, "j")) == {"y"}
    assert bench.store.read(lambda c: ratings.known(c, "j"))["y"].reasons == ("why",)


def test_a_job_is_rated_at_a_modest_pace(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not again before its time, and not unless a tenth more has been said."""
    job = job_of(rules={"retire": {"accuracy": 0.01}})
    seen: list[str] = []
    monkeypatch.setattr(oversight.Oversight, "rate", lambda _self, name: seen.append(name))
    bench.take(*job.news(), job.judged(0, "b", judge="people", worker="ann"))
    bench.take(*Job().news())  # without rules
    bench.swept()
    bench.swept()
    assert seen == [job.id]
    bench.fake_clock.turn(oversight.EVERY)
    bench.swept()
    assert seen == [job.id]
    bench.take(job.judged(0, "b", judge="people", slot=1, worker="bob"))
    bench.swept()
    assert seen == [job.id] * 2


def test_what_was_not_acted_on_is_done_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed behind the commit: whoever lives asks for what is outstanding and tells of it, after a while, and once."""
    job = job_of()
    exposed(bench, job)
    last = KNOWN // 2
    bench.take(job.judged(last, ["a", "a"], judge="people", slot=0, worker="eve"))
    bench.take(job.judged(last, ["a", "b"], judge="people", slot=1, worker="fay"))
    lost = said(killed_reopening(bench, job, monkeypatch))
    assert asked(lost) == [("people", 2, [KNOWN])]
    other = Bench(bench.store, bench.fake_clock)
    assert other.swept() == []  # whoever was at it may still be
    bench.fake_clock.turn(oversight.GRACE + 1)
    again = said(other.swept())
    assert asked(again) == [("people", 2, [KNOWN, KNOWN + 1])]
    assert [e.data["action"] for e in again if e.name == "worker.rated"] == ["retire"]
    told = [suite for e in again if e.name == "suites.settled" for suite in e.data["suites"]]
    assert told == list(range(last))  # which of them this had settled nobody knows
    bench.fake_clock.turn(oversight.GRACE + 1)
    assert other.swept() == []
    bench.audit(job)


def killed_reopening(bench: Bench, job: Job, monkeypatch: pytest.MonkeyPatch) -> list[Outgoing]:
    """Rate a job, and be killed when what is to be asked is in the store; what would have gone out."""
    real, lost = bench.intake.reopen, list[Outgoing]()

    def reopen(*what: Any) -> list[Outgoing]:
        lost.extend(real(*what))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(bench.intake, "reopen", reopen)
        with pytest.raises(KeyboardInterrupt):
            bench.upkeep._oversight.rate(job.id)
    return lost


def test_what_could_not_be_published_is_published_later(store: Store) -> None:
    """The broker refuses the event: it goes out when the job is tried again, though nothing new was said."""
    bench = Bench(store)
    job = job_of()
    exposed(bench, job)
    bench.publisher._errors = [BrokerUnavailable("away")]
    bench.upkeep.round()
    assert "away" in bench.upkeep._troubles["ratings of workers"]
    assert not [e for e in said(bench.publisher.published) if e.name == "worker.rated"]
    bench.fake_clock.turn(oversight.EVERY)
    events = said(bench.swept())
    assert [e.data["worker"] for e in events if e.name == "worker.rated"] == ["people/eve"]
    assert bench.store.read(lambda c: ratings.pending(c, job.id)) == []


def test_a_job_that_cannot_be_rated_costs_no_other(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried again, ever more rarely."""
    jobs = [job_of() for _ in range(3)]
    for job in jobs:
        bench.take(*job.news(), job.judged(0, "b", judge="people", worker="ann"))
    seen: list[str] = []

    def rate(_self: object, name: str) -> None:
        seen.append(name)
        if name == jobs[0].id:
            raise ValueError("of this job's own")

    monkeypatch.setattr(oversight.Oversight, "rate", rate)
    bench.swept()
    assert sorted(seen) == sorted(job.id for job in jobs)
    bench.swept()
    assert len(seen) == 3
    for turn, times in ((2, 2), (2, 2), (2, 3), (6, 3), (2, 4)):
        bench.fake_clock.turn(turn)
        bench.swept()
        assert seen.count(jobs[0].id) == times
    assert len(seen) == 6


@pytest.mark.parametrize("worker", ["w" * 8_000_000, "a\0b"], ids=["long", "NUL"])
def test_an_id_that_no_store_would_keep_is_refused(bench: Bench, worker: str) -> None:
    """The judgments are set aside and judged again; nothing of the id is remembered."""
    job = job_of()
    out = bench.take(*job.news(), job.judged(0, "b", judge="people", worker=worker))
    assert [letter.headers["mh-code"] for letter in letters(out)] == ["undecodable"]
    assert bench.counts(job)[1] == 0


#: By the answer's type: what is true of a task, and what another says of it who errs.
TRUE: Mapping[str, Any] = {
    "choice": lambda p: "abc"[p * p % 7 % 3],
    "choices": lambda p: [["a"], ["b", "c"], ["b"]][p * p % 7 % 3],
    "text": lambda p: f"row {p * p}",
    "number": lambda p: float(p * 37 % 101),
}
WRONG: Mapping[str, Any] = {
    "choice": lambda p, who: "abc"[(p * p % 7 + 1 + (p + who) % 2) % 3],
    "choices": lambda _, who: [["c"], ["a", "b"]][who % 2],
    "text": lambda p, who: f"line {p}.{who}",
    "number": lambda p, who: 200.25 + who + p,
}


@pytest.mark.parametrize("kind", ["choice", "choices", "text", "number"])
@pytest.mark.parametrize(
    ("rules", "action", "why"),
    [
        ({"retire": {"spam": 0.4}}, "retire", "does not look at its tasks"),
        ({"pause": {"copying": True}}, "pause", "copies another worker"),
        ({"warn": {"loss": 0.1}}, "warn", "has become worse"),
        ({"warn": {"repeats": 0.001}}, "warn", "repeats itself"),
        ({"pause": {"accuracy": 0.7}}, "pause", "right in at most"),
    ],
)
def test_each_rule_acts(tmp_path: Path, kind: str, rules: dict[str, Any], action: str, why: str) -> None:
    """On whom it is meant for, and on nobody of five others who err, each where the next does not; nobody knows truths.

    Eve says always the same, what the first says, what is right until the middle, the same, or what is wrong.
    """
    bench, (measure,) = Bench(open_store(f"sqlite:///{tmp_path}/a.db")), rules[action]
    answer = {"type": kind} | ({"options": ["a", "b", "c"]} if kind in ("choice", "choices") else {})
    more = {"answer": answer, "quality": {"warn": False, "pause": False, "retire": False} | rules}
    stages = [{"judges": [{"people": 6}], "accept": {"margin": 6, "at_most": 6}}]
    job = Job(count=121, size=60, more=more | {"stages": stages})
    true, wrong = TRUE[kind], WRONG[kind]

    def honest(who: int, p: int) -> Any:
        return wrong(p, who) if (p + 2 * who) % 7 == 0 else true(p)

    def eve(p: int) -> Any:
        match measure:
            case "copying":
                return honest(0, p)
            case "loss":
                return true(p) if p < 60 else wrong(p, 5)
            case "accuracy":
                return wrong(p, 5)
            case _:
                return true(1)

    bench.take(*job.news())
    for suite in range(2):  # and the last task stays open
        for slot in range(6):
            says = [eve(p) if slot == 5 else honest(slot, p) for p in job.positions(suite)]
            judged = job.judged(suite, says, judge="people", slot=slot, worker=f"w{slot}")
            bench.take(replace(judged, finished=10.0 * suite + slot))
    events = said(bench.swept())
    assert [(e.data["worker"], e.data["action"]) for e in events if e.name == "worker.rated"] == [("people/w5", action)]
    assert why in next(e.data["reasons"][0] for e in events if e.name == "worker.rated")


def test_who_is_good_is_told(bench: Bench) -> None:
    """Those of whom that is certain enough."""
    job = job_of(rules={**NOBODY, "qualify": {"accuracy": 0.8}})
    exposed(bench, job)
    bench.swept()
    assert rated(bench, job) == {"people/ann": "qualify", "people/bob": "qualify", "people/fay": "qualify"}


def test_whom_it_concerns_is_told(bench: Bench) -> None:
    """By an event, with what was measured and why."""
    job = job_of()
    exposed(bench, job)
    (event,) = [event for event in said(bench.swept()) if event.name == "worker.rated"]
    assert (event.job, event.data["worker"], event.data["action"]) == (job.id, "people/eve", "retire")
    assert event.data["judgments"] == KNOWN
    assert "right in at most" in event.data["reasons"][0]


def test_who_is_rated_is_measured(bench: Bench) -> None:
    """People and machines apart, by what is done about them; whoever worked for a job that is over is not counted."""
    job = job_of()
    exposed(bench, job)
    bench.upkeep.round()
    bench.upkeep.measure()
    assert measured() == {("people", "retire"): 1}
    other = job_of(
        [{"judges": ["model"], "accept": {"confidence": 0.99}}, {"judges": [{"people": 3}]}],
        {"retire": False, "pause": False, "warn": {"accuracy": 0.6}},
    )
    exposed(bench, other, judge="model", bad="m")
    bench.upkeep.round()
    bench.upkeep.measure()
    assert measured() == {("people", "retire"): 1, ("machines", "warn"): 1}
    bench.take(job.cancelled())
    bench.upkeep.measure()
    assert measured() == {("machines", "warn"): 1}


def measured() -> dict[tuple[str, ...], float]:
    """What the gauge says, but for zeros."""
    (family,) = metrics.WORKERS_RATED.collect()
    return {(s.labels["kind"], s.labels["action"]): s.value for s in family.samples if s.value}
