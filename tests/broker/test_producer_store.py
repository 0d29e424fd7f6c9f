"""The producer's store on PostgreSQL: what the unit tests hold on SQLite."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from manyhands import metrics
from manyhands.broker import connect
from manyhands.errors import BrokerUnavailable
from manyhands.testing import FakePublisher
from manyhands_producer.errors import JobRefused, Moved
from manyhands_producer.leader import Leadership
from manyhands_producer.record import Added
from manyhands_producer.service import Producer
from manyhands_producer.settings import ProducerSettings
from manyhands_producer.store import ProducerStore
from tests.fault.proxy import Proxy, Way
from tests.services import Postgres, wait_until
from tests.unit.producer.support import Bench, job_spec


@pytest.fixture
def url(postgres: Postgres) -> str:
    """An empty database."""
    return postgres.database()


@pytest.fixture
def bench(url: str, tmp_path: Path) -> Iterator[Bench]:
    """A producer by hand on that database."""
    bench = Bench(tmp_path, url=url)
    yield bench
    bench.store.close()


def test_a_job_with_bad_rows_goes_through(bench: Bench, tmp_path: Path, url: str) -> None:
    """Reading, repeated ids, restarts, settling and the end work as on SQLite."""
    rows = [f"r{i},{i}" for i in range(3000)] + ["r7,again", "bad"]
    (tmp_path / "a.csv").write_text("id,x\n" + "\n".join(rows) + "\n")
    spec = job_spec({"path": f"{tmp_path}/a.csv", "id": "id", "on_bad_row": "set-aside"}, suite=10)
    job = bench.requests.submit(spec)
    bench.reader.round()
    again = Bench(tmp_path, FakePublisher([BrokerUnavailable("gone")]), url=url)
    again.clock.turn(60)
    again.run(job)
    again.clock.turn(60)
    again.run(job)
    sent = {p: load for s in again.suites(job) for p, load in zip(s.positions, s.payloads, strict=True)}
    assert sent == {i: str(i) for i in range(3000)}
    assert again.requests.status(job)["refused"] == 2
    again.store.settle({}, {job: {"state": "complete"}})
    again.store.purge_ids()
    assert again.requests.audit(job)["spooled"] == 0
    again.store.close()


def test_pushes_and_repeated_ids(bench: Bench) -> None:
    """Pushed ids are exact, and a refused push leaves nothing behind."""
    job = bench.requests.submit(job_spec(), tasks=[{"payload": 1, "id": "a"}])
    for again in ("a", "b"):
        with pytest.raises(JobRefused, match="ids come twice"):
            bench.requests.push(job, [{"payload": 2, "id": "b"}, {"payload": 3, "id": again}])
    assert bench.requests.push(job, [{"payload": 2, "id": "b"}], first=1) == 2


def test_two_replicas_never_cut_the_same_suite(bench: Bench, url: str) -> None:
    """Of two writers that follow the same suite one is told that the job has moved on."""
    bench.requests.submit(job_spec(), job="mine")
    other = ProducerStore(url)
    added = Added(cuts=[], state="open", cursor={"row": 1})
    number = bench.store.job("mine").number
    other.add(number, 0, added)
    with pytest.raises(Moved):
        bench.store.add(number, 5, added)
    other.close()


def test_pushes_from_many_threads_through_two_replicas(url: str) -> None:
    """Tasks that are pushed to two replicas at once get every position once, and the one that leads publishes all."""
    broker = connect("memory://")
    settings = ProducerSettings(store=SecretStr(url))
    producers = [Producer(settings, broker), Producer(settings, broker)]
    for producer in producers:
        producer.start()
    job = producers[0].submit(job_spec(in_flight=10_000))
    errors: list[Exception] = []

    def push(producer: Producer) -> None:
        try:
            for _ in range(20):
                producer.push(job, [{"payload": 1}, {"payload": 2}, {"payload": 3}])
        except Exception as error:  # noqa: BLE001  shown below
            errors.append(error)

    threads = [threading.Thread(target=push, args=(p,)) for p in producers * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    producers[1].seal(job)

    def status() -> dict[str, Any]:
        return producers[0].status(job)

    assert (status()["tasks"], status()["suites"]) == (240, 160)
    wait_until(lambda: status()["published"] == 160, 20, "all to be published", every=0.05)
    for producer in producers:
        producer.stop(5)
    broker.close()


def test_a_push_of_which_the_commit_was_not_answered(url: str, tmp_path: Path) -> None:
    """The server commits, and its answer is lost with the connection: the tasks are taken once."""
    with Proxy(url) as line:
        bench = Bench(tmp_path, url=line.url)
        job = bench.requests.submit(job_spec(), tasks=[{"payload": 0}])
        direct = ProducerStore(url)

        def answered_never(_: sa.Connection) -> None:
            line.stall(Way.DOWN)
            threading.Thread(target=cut_when_committed).start()

        def cut_when_committed() -> None:
            wait_until(lambda: direct.job(job).tasks == 3, 20, "the server to commit", every=0.01)
            line.reset()
            line.mend()

        before = metrics.STORE_RETRIES._value.get()
        sa.event.listen(bench.store.engine, "commit", answered_never, once=True)
        assert bench.requests.push(job, [{"payload": 1}, {"payload": 2, "id": "a"}]) == 3
        assert metrics.STORE_RETRIES._value.get() > before
        assert direct.job(job).tasks == 3
        bench.publish()
        assert [load for s in bench.suites(job) for load in s.payloads] == [0, 1, 2]
        direct.close()
        bench.store.close()


def test_the_lead_ends_with_its_connection(bench: Bench, url: str) -> None:
    """When the connection that holds the lead is lost, its holder is told and another may have it."""
    first, second = Leadership(bench.store.engine), Leadership(ProducerStore(url).engine)
    assert first.acquire(threading.Event())
    waiting = threading.Event()
    waiting.set()
    assert not second.acquire(waiting)
    assert not second._try()
    assert first.held()
    end = "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory'"
    bench.store._store.write(lambda c: c.exec_driver_sql(end))
    assert not first.held()
    assert second.acquire(threading.Event())
    first.release()
    second.release()
