"""What the producer says of suites on their way: since when, and how old the oldest is."""

from __future__ import annotations

from pathlib import Path

from prometheus_client import REGISTRY

from tests.unit.producer.support import Bench, job_spec


def oldest(judge: str) -> float | None:
    """The gauge of a judge."""
    return REGISTRY.get_sample_value("manyhands_oldest_suite_seconds", {"judge": judge})


def submit(bench: Bench, judge: str) -> str:
    """A published job of three suites for one judge."""
    spec = job_spec(stages=[{"judges": [judge]}])
    job = bench.requests.submit(spec, tasks=[{"payload": i} for i in range(6)], seal=True)
    bench.publish()
    return job


def test_suites_carry_the_time_of_their_publishing(tmp_path: Path) -> None:
    """In a header, as seconds since 1970, as text: AMQP clients do not agree on floats."""
    bench = Bench(tmp_path)
    before = bench.clock.now()
    submit(bench, "j")
    sent = [float(m.headers["mh-published"]) for m in bench.publisher.published if m.type == "suite.v1"]
    assert len(sent) == 3
    assert all(before - 0.001 <= at <= bench.clock.now() + 0.001 for at in sent)


def test_the_age_of_the_oldest_suite(tmp_path: Path) -> None:
    """It grows until the suite is settled, each judge has its own, and it is 0 when nothing is left."""
    bench = Bench(tmp_path)
    first = submit(bench, "old")
    bench.clock.turn(100)
    second = submit(bench, "young")
    bench.board.measure()
    assert 100 <= (oldest("old") or 0) < 110
    assert 0 < (oldest("young") or 0) < 10
    bench.settle(first, [0, 1, 2])
    bench.board.measure()
    assert oldest("old") == 0
    bench.settle(second, [0])
    bench.clock.turn(50)
    bench.board.measure()
    assert 50 <= (oldest("young") or 0) < 60
    bench.board.clear()  # another replica leads now
    assert oldest("young") == 0


def test_turnaround(tmp_path: Path) -> None:
    """A suite's time from its publishing to its settling is counted once, however often that is told."""
    bench = Bench(tmp_path)
    job = submit(bench, "j")
    name = "manyhands_turnaround_seconds"
    count, total = REGISTRY.get_sample_value(f"{name}_count") or 0, REGISTRY.get_sample_value(f"{name}_sum") or 0
    bench.clock.turn(30)
    bench.settle(job, [0, 1])
    bench.board.settled(job, [0, 1, 99])
    assert REGISTRY.get_sample_value(f"{name}_count") == count + 2
    assert 60 <= (REGISTRY.get_sample_value(f"{name}_sum") or 0) - total < 70
