"""Jobs taken in and tasks pushed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from manyhands.errors import StoreUnavailable, UnknownJob
from manyhands_producer.errors import JobRefused, SpoolFull
from tests.unit.commits import lost_in_the_commit
from tests.unit.producer.support import Bench, job_spec


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A producer with nothing to do yet."""
    return Bench(tmp_path)


def tasks(*payloads: Any) -> list[dict[str, Any]]:
    """Tasks with these payloads."""
    return [{"payload": payload} for payload in payloads]


def test_pushed_tasks_leave_at_once(bench: Bench) -> None:
    """A push closes its suites, whole or not, so that nothing waits for the next push."""
    job = bench.requests.submit(job_spec(), tasks=tasks("a"))
    assert bench.requests.push(job, tasks("b", "c", "d")) == 4
    bench.publish()
    assert [s.positions for s in bench.suites(job)] == [[0], [1, 2], [3]]
    assert bench.told("job.sealed", job) == []
    bench.requests.seal(job)
    bench.publish()
    assert bench.told("job.sealed", job) == [{"tasks": 4, "suites": 3}]


def test_a_repeated_submit_changes_nothing(bench: Bench) -> None:
    """The same job under the same id is taken once, its tasks too; another job file under that id is refused."""
    for new in (True, False):
        assert bench.requests.open(job_spec(), job="mine", tasks=tasks(1, 2, 3), seal=True) == ("mine", new)
    assert bench.requests.status("mine")["tasks"] == 3
    with pytest.raises(JobRefused, match="another job file"):
        bench.requests.submit(job_spec(suite=5), job="mine")


def test_a_push_with_its_position_may_be_repeated(bench: Bench) -> None:
    """Tasks that are there already are passed over; a gap is refused; after the end a repeat is still harmless."""
    job = bench.requests.submit(job_spec())
    for _ in range(2):
        assert bench.requests.push(job, tasks(0, 1, 2), first=0) == 3
    assert bench.requests.push(job, tasks(2, 3), first=2) == 4
    with pytest.raises(JobRefused, match="from position 4 on"):
        bench.requests.push(job, tasks(9), first=5)
    bench.requests.cancel(job)
    bench.publish()
    assert bench.requests.push(job, tasks(2, 3), first=2) == 4
    with pytest.raises(JobRefused, match="is cancelled and takes no more tasks"):
        bench.requests.push(job, tasks(4), first=4)


def test_ids_that_come_twice_are_refused(bench: Bench) -> None:
    """A push with an id that the job has had, or twice the same, is refused whole; other jobs have their own ids."""
    job = bench.requests.submit(job_spec(), tasks=[{"payload": 1, "id": "a"}, {"payload": 2}])
    other = bench.requests.submit(job_spec(), tasks=[{"payload": 1, "id": "a"}])
    for again in ([{"payload": 3, "id": "b"}, {"payload": 4, "id": "a"}], [{"payload": 3, "id": "c"}] * 2):
        with pytest.raises(JobRefused, match=r"ids come twice: '[ac]'; none of these"):
            bench.requests.push(job, again)
    assert bench.requests.push(job, [{"payload": 3, "id": "b"}, {"payload": 4, "id": "c"}]) == 4
    assert bench.requests.status(other)["tasks"] == 1
    with pytest.raises(JobRefused, match="ids come twice: 'x'"):
        bench.requests.submit(job_spec(), job="new", tasks=[{"payload": 3, "id": "x"}] * 2)
    with pytest.raises(UnknownJob):
        bench.requests.status("new")


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ({"id": "a"}, "not of the form"),
        ("text", "not of the form"),
        ({"payload": 1, "positon": 3}, "unknown key 'positon'"),
        ({"payload": 1, "id": ""}, "the id is empty"),
        ({"payload": 1, "id": "a\0b"}, "NUL"),
        ({"payload": 1, "id": "x" * 600}, "at most 500"),
        ({"payload": 1, "id": 1.5}, "text or a whole number"),
    ],
)
def test_a_push_that_is_not_right_is_refused_whole(bench: Bench, task: Any, said: str) -> None:
    """A task that is none costs its push and names itself; the job stays as it was."""
    job = bench.requests.submit(job_spec(), tasks=tasks(0))
    with pytest.raises(JobRefused, match=f"task 2.*{said}"):
        bench.requests.push(job, [*tasks(1), task])
    assert bench.requests.status(job)["tasks"] == 1


def test_a_pushed_payload_over_the_limit_fails_alone(bench: Bench) -> None:
    """One large payload is refused with its reason, the rest of the push goes on."""
    job = bench.requests.submit(job_spec(), tasks=tasks("a", "x" * (1 << 20), "c"), seal=True)
    bench.publish()
    assert [p for s in bench.suites(job) for p in s.positions] == [0, 2]
    assert bench.requests.status(job)["refused"] == 1


def test_a_full_spool_refuses_pushes(bench: Bench) -> None:
    """A job that has too much waiting takes no more until some of it has left."""
    bench.requests._settings = bench.settings.model_copy(update={"spool_bytes": 1000})
    job = bench.requests.submit(job_spec(in_flight=1), tasks=tasks("x" * 2000))
    with pytest.raises(SpoolFull, match="1 suites of"):
        bench.requests.push(job, tasks("y"))
    bench.publish()
    assert bench.requests.push(job, tasks("y")) == 2


def test_a_job_with_a_source_takes_no_pushes(bench: Bench, tmp_path: Path) -> None:
    """Tasks come from the source or from pushes, never from both; its end is what seals it."""
    (tmp_path / "a.csv").write_text("x\n1\n")
    spec = job_spec({"path": f"{tmp_path}/a.csv"})
    with pytest.raises(JobRefused, match="takes no pushed tasks"):
        bench.requests.submit(spec, tasks=tasks(1))
    job = bench.requests.submit(spec)
    with pytest.raises(JobRefused, match="from its source"):
        bench.requests.push(job, tasks(1))
    with pytest.raises(JobRefused, match="when its source ends"):
        bench.requests.seal(job)


def test_unknown_jobs(bench: Bench) -> None:
    """Whatever is asked of a job that is not there says so."""
    for ask in (bench.requests.status, bench.requests.audit, bench.requests.seal, bench.requests.cancel):
        with pytest.raises(UnknownJob, match="nobody"):
            ask("nobody")
    with pytest.raises(UnknownJob, match="nobody"):
        bench.requests.push("nobody", tasks(1))


def test_what_another_replica_takes_in_is_found(bench: Bench, tmp_path: Path) -> None:
    """A replica that stands by answers from the store; what it takes in is published by the one that leads."""
    standby = Bench(tmp_path)
    standby.requests._leading.clear()
    job = bench.requests.submit(job_spec(), tasks=tasks(1))
    assert standby.requests.push(job, tasks(2, 3)) == 3
    assert standby.board.get(job) is None
    assert bench.requests.push(job, tasks(4)) == 4
    standby.requests.seal(job)
    bench.board.moved(bench.store.job(job))
    bench.publish()
    assert [load for s in bench.suites(job) for load in s.payloads] == [1, 2, 3, 4]
    assert bench.told("job.sealed", job) == [{"tasks": 4, "suites": 3}]


def test_a_push_goes_on_where_another_replica_has_come_to(bench: Bench, tmp_path: Path) -> None:
    """The next tasks of a client are taken by the replica that leads, though another has taken those before them."""
    standby = Bench(tmp_path)
    standby.requests._leading.clear()
    job = bench.requests.submit(job_spec(), tasks=tasks(1))
    assert standby.requests.push(job, tasks(2, 3), first=1) == 3
    assert bench.requests.push(job, tasks(4), first=3) == 4
    with pytest.raises(JobRefused, match="has 4 tasks"):
        bench.requests.push(job, tasks(9), first=5)


@pytest.mark.parametrize("through", [True, False], ids=["through", "undone"])
def test_a_push_of_which_the_commit_was_not_answered(bench: Bench, through: bool) -> None:
    """Whether the store had it or not, its tasks are taken once, with or without ids of their own."""
    job = bench.requests.submit(job_spec(), tasks=tasks(0))
    with lost_in_the_commit(bench.store, through=through):
        assert bench.requests.push(job, tasks(1, 2, 3)) == 4
    with lost_in_the_commit(bench.store, through=through):
        assert bench.requests.push(job, [{"payload": 4, "id": "a"}]) == 5
    bench.publish()
    assert [load for s in bench.suites(job) for load in s.payloads] == [0, 1, 2, 3, 4]
    assert bench.requests.status(job)["tasks"] == 5


@pytest.mark.parametrize("through", [True, False], ids=["through", "undone"])
def test_a_push_of_which_nobody_can_tell(bench: Bench, tmp_path: Path, through: bool) -> None:
    """Others have pushed since its commit was lost: it is said, and with its position it may be repeated."""
    standby = Bench(tmp_path)
    job = bench.requests.submit(job_spec(), tasks=tasks(0))

    def meanwhile() -> None:
        standby.requests.push(job, tasks("other"))

    with (
        lost_in_the_commit(bench.store, through=through, meanwhile=meanwhile),
        pytest.raises(StoreUnavailable, match="may be taken or not"),
    ):
        bench.requests.push(job, tasks(1))
    had = bench.requests.status(job)["tasks"]
    assert had == (3 if through else 2)
    with lost_in_the_commit(bench.store, through=through, meanwhile=meanwhile):
        assert bench.requests.push(job, tasks(2, 3), first=had) == had + 2 + through


def test_the_budget_holds_over_pushes(bench: Bench) -> None:
    """However the tasks come: once the budget is used up, the rest is refused, and the job can be sealed."""
    spec = job_spec(stages=[{"judges": [{"judge": "j", "price": 1}]}], budget=3)
    job = bench.requests.submit(spec, tasks=[{"payload": i} for i in range(2)])
    assert bench.requests.push(job, [{"payload": i} for i in range(2, 4)]) == 4
    assert bench.requests.push(job, [{"payload": 4}]) == 5
    bench.requests.seal(job)
    row = bench.store.job(job)
    assert (row.tasks, row.refused) == (5, 2)
