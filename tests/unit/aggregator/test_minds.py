"""What is kept in memory of the voters of jobs: bounded, and each suite teaches once."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from manyhands_aggregator import minds
from manyhands_aggregator.judged import Taught
from manyhands_aggregator.minds import Mind, Minds
from manyhands_aggregator.opinions import Lesson
from manyhands_aggregator.plan import Plan
from manyhands_aggregator.truth.belief import Vote
from manyhands_service.store import Store
from tests.unit.aggregator.kit import Bench, Job

STAGES = [{"judges": ["one", "two"], "accept": {"agree": 2}}, {"judges": ["three"]}]


def test_one_job_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one more than are kept take their turns few are read again, and whoever is at work all the time never."""
    monkeypatch.setattr(minds, "KEPT", 50)
    recalled: list[str] = []

    def recall(_connection: sa.Connection, job: str, _plan: Plan) -> Mind:
        recalled.append(job)
        return Mind(2)

    monkeypatch.setattr(minds, "_recalled", recall)
    nothing: Any = None
    kept = Minds()
    for _ in range(20):
        for job in range(51):
            kept.mind(nothing, str(job), nothing)
            kept.mind(nothing, "busy", nothing)
    assert len(kept._minds) == 50
    assert len(recalled) < 20 * 52 / 5
    assert recalled.count("busy") == 1


def test_small_jobs_leave_room_for_more_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept is bounded by what is known, however many jobs it is of; a job that grows makes others go."""
    monkeypatch.setattr(minds, "KEPT", 1000)
    monkeypatch.setattr(minds, "_recalled", lambda *_: Mind(2))
    nothing: Any = None
    kept = Minds()

    def votes(position: int) -> Lesson:
        return Lesson(position, [Vote("one", 0), Vote("two", 1)])

    for job in range(300):
        kept.mind(nothing, str(job), nothing)
        kept.learn({str(job): Taught({}, {0: [votes(0)]})})  # itself, two voters and a task: four
    assert len(kept._minds) == 250
    kept.mind(nothing, "large", nothing)
    kept.learn({"large": Taught({}, {suite: [votes(suite)] for suite in range(700)})})
    assert kept._kept == sum(mind.size for mind in kept._minds.values()) <= 1000
    assert "large" in kept._minds
    kept.learn({"large": Taught({}, {suite: [votes(suite)] for suite in range(2000)})})
    assert list(kept._minds) == ["large"]
    kept.learn({"large": Taught({suite: [] for suite in range(2000)}, {})})
    assert kept._kept == 3


def test_a_settled_suite_teaches_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread reads the job again between a commit and what is learned of it."""
    bench = Bench(store)
    job = Job(count=2, size=1, more={"method": "majority", "stages": STAGES})
    bench.take(*job.news(), job.judged(0, "a", judge="one"))
    plan = store.read(lambda c: bench.intake._plans.get(c, job.id))
    assert plan is not None

    def recalled() -> Mind:
        bench.intake.minds._minds.clear()
        return store.read(lambda c: bench.intake.minds.mind(c, job.id, plan))

    late: list[Any] = []
    learn = bench.intake.minds.learn

    def first_recalled(taught: dict[str, Taught]) -> None:
        late.append(taught)
        recalled()
        learn(taught)

    monkeypatch.setattr(bench.intake.minds, "learn", first_recalled)
    bench.take(job.judged(0, "a", judge="two"))
    mind = bench.intake.minds._minds[job.id]
    assert late[-1][job.id].settled
    counts = mind.beliefs.counts()
    assert counts["studied"]
    assert recalled().beliefs.counts() == counts
