"""The aggregator as a whole, over the embedded broker: threads, replicas, dead letters, API."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydantic import SecretStr

from manyhands.broker import Broker, Delivery, Outgoing, connect
from manyhands.codec import encode
from manyhands.deadletters import Cause, raw_letter, suite_letter
from manyhands.errors import BrokerError, BrokerUnavailable, Refused
from manyhands.messages import Event, Judgments, Message
from manyhands.testing import FakePublisher
from manyhands.topology import topology
from manyhands_aggregator import office
from manyhands_aggregator.api import build
from manyhands_aggregator.deadlist import NoSuchLetter, Which
from manyhands_aggregator.fitting import Fitting
from manyhands_aggregator.service import Aggregator
from manyhands_aggregator.settings import AggregatorSettings
from manyhands_aggregator.upkeep import Upkeep
from manyhands_service.store import Store
from manyhands_service.web import WebServer
from tests.services import wait_until
from tests.unit.aggregator.kit import NAMES, Job


class Installation:
    """A broker with the topology of the tests' one judge, and a publisher."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.broker: Broker = connect("memory://")
        self.broker.declare(topology(NAMES, ["one"]))
        self._publisher = self.broker.publisher()
        self._running: list[Callable[[], None]] = []

    def aggregator(self, **settings: Any) -> Aggregator:
        """A started replica."""
        given = AggregatorSettings(store=SecretStr(self.url), broker=SecretStr("memory://"), **settings)
        aggregator = Aggregator(given, self.broker)
        self._running.append(lambda: aggregator.stop(5))
        aggregator.start()
        wait_until(lambda: not any(check() for check in aggregator.checks.values()), 20, "readiness", every=0.01)
        return aggregator

    def api(self, aggregator: Aggregator, token: str | None = None) -> Api:
        """The API of a replica, served."""
        settings = AggregatorSettings(api_token=SecretStr(token) if token else None)
        server = WebServer(build(aggregator, settings), "127.0.0.1", 0)
        self._running.append(server.close)
        return Api(f"http://{server.address}")

    def publish(self, *messages: Message) -> None:
        """Publish where such messages go; all are confirmed when it returns."""
        done = threading.Semaphore(0)
        errors: list[BrokerError] = []

        def confirmed(error: BrokerError | None) -> None:
            errors.extend([error] if error else [])
            done.release()

        for message in messages:
            assert isinstance(message, (Event, Judgments))
            event = isinstance(message, Event)
            route = NAMES.to_roles(message.name) if event else NAMES.to_aggregator(message.job, message.suite)  # type: ignore[union-attr]
            e = encode(message)
            out = Outgoing(
                exchange=route[0], key=route[1], body=e.body, type=e.type, content_encoding=e.content_encoding
            )
            self._publisher.publish(out, confirmed)
        for _ in messages:
            assert done.acquire(timeout=10)
        assert not errors

    def send(self, message: Outgoing) -> None:
        """Publish as it is."""
        done = threading.Event()
        self._publisher.publish(message, lambda _: done.set())
        assert done.wait(10)

    def close(self) -> None:
        """Stop what runs, the last first."""
        for stop in reversed(self._running):
            stop()
        self.broker.close()


class Api:
    """The HTTP API as a client sees it."""

    def __init__(self, base: str, token: str = "") -> None:
        self.base, self.token = base, token

    def __call__(self, path: str, method: str = "GET") -> tuple[int, Any]:
        """Status and JSON body."""
        status, body = self.raw(path, method)
        return status, json.loads(body)

    def raw(self, path: str, method: str = "GET") -> tuple[int, bytes]:
        """Status and body."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        request = urllib.request.Request(self.base + path, method=method, headers=headers)  # noqa: S310  our own server
        try:
            with urllib.request.urlopen(request, timeout=20) as reply:  # noqa: S310
                return reply.status, reply.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()


@pytest.fixture
def installation(store: Store, store_url: str) -> Iterator[Installation]:
    """A broker, on an empty store."""
    store.close()
    installation = Installation(store_url)
    yield installation
    installation.close()


def ended(aggregator: Aggregator, job: Job) -> dict[str, Any]:
    """The job's progress when it has ended."""

    def look() -> dict[str, Any] | None:
        found = {p["job"]: p for p in aggregator.jobs()}.get(job.id)
        return found if found and found["state"] != "open" else None

    found = wait_until(look, 20, "the job's end", every=0.01)
    assert found is not None
    return found


def test_from_first_to_last(installation: Installation) -> None:
    """Judgments that are there before any news, then the news; the job ends, and all was acked."""
    aggregator = installation.aggregator()
    job = Job(count=20)
    installation.publish(*(job.judged(s) for s in range(job.suites)), *job.news())
    assert ended(aggregator, job)["state"] == "complete"
    assert aggregator.audit(job.id)["conserved"]
    assert aggregator.page(job.id, after=-1, limit=100, wait=0).positions == list(range(20))
    aggregator.stop(5)
    aggregator.stop(5)
    for queue in ("events.aggregator", *(NAMES.judgments_queue(p) for p in range(4))):
        assert installation.broker.depth(queue) == (0, 0)


def test_two_replicas_conserve(installation: Installation) -> None:
    """They share queues and store; one leaves in the middle and its work is done by the other."""
    leaving, staying = installation.aggregator(batch=5), installation.aggregator(batch=5)
    jobs = [Job(count=60, judges=["one", "two"], size=3) for _ in range(4)]
    for job in jobs:
        installation.publish(*job.news())
    for suite in range(20):
        for job in jobs:
            installation.publish(job.judged(suite), job.judged(suite, "b", judge="two"), job.judged(suite))
        if suite == 10:
            leaving.stop(0)
    for job in jobs:
        assert ended(staying, job)["answered"] == 60
        assert staying.progress(job.id)["judgments"] == 120
        assert staying.audit(job.id)["conserved"]


def test_readers_wait_for_the_first_answer(installation: Installation) -> None:
    """A page that waits returns as soon as something is settled, and empty when its time is up."""
    aggregator = installation.aggregator()
    job = Job(count=2)
    installation.publish(*job.news())
    wait_until(lambda: aggregator.jobs(), 10, "the job", every=0.01)
    assert aggregator.page(job.id, after=-1, limit=10, wait=0.05).positions == []
    timer = threading.Timer(0.05, lambda: installation.publish(job.judged(0)))
    timer.start()
    assert aggregator.page(job.id, after=-1, limit=10, wait=20).positions == [0, 1]
    timer.join()


def test_the_clock_goes_on_after_any_error(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """A round of upkeep that fails in a way nobody thought of is said, and the next one keeps the deadlines."""
    real, failed = Upkeep.round, threading.Event()

    def once(upkeep: Upkeep) -> bool:
        if not failed.is_set():
            failed.set()
            raise ZeroDivisionError("a bug")
        return real(upkeep)

    monkeypatch.setattr(Upkeep, "round", once)
    aggregator = installation.aggregator()
    assert failed.wait(10)
    job = Job(count=2, more={"deadline": 1})
    installation.publish(*job.news())
    assert ended(aggregator, job)["reason"] == "deadline"


def test_deadlines_are_kept_while_a_job_is_gone_over(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long that takes."""
    begun, done = threading.Event(), threading.Event()

    def fit(_: Fitting) -> None:
        begun.set()
        done.wait(30)

    monkeypatch.setattr(Fitting, "round", fit)
    try:
        aggregator = installation.aggregator()
        assert begun.wait(10)
        job = Job(count=2, more={"deadline": 1})
        installation.publish(*job.news())
        assert ended(aggregator, job)["reason"] == "deadline"
        assert not done.is_set()
    finally:
        done.set()


def test_judges_whom_nobody_serves_are_told(installation: Installation) -> None:
    """Suites wait for a judge and no worker takes them; while one does, or none wait, nobody is named."""
    api, job = installation.api(installation.aggregator()), Job(count=2)
    path = f"/api/jobs/{job.id}/unserved"
    assert api(path)[0] == 404
    installation.publish(*job.news())
    wait_until(lambda: api(path) == (200, {"judges": []}), 10, "the job to be known", every=0.01)
    exchange, key = NAMES.to_judge("one")
    installation.send(Outgoing(exchange=exchange, key=key, body=encode(job.suite(0)).body, type="suite.v1"))
    assert api(path) == (200, {"judges": ["one"]})
    worker = installation.broker.consumer([NAMES.tasks_queue("one")], prefetch=1)
    wait_until(lambda: api(path) == (200, {"judges": []}), 10, "a worker to be seen", every=0.01)
    worker.close()


def _letter(job: Job, suite: int, code: str = "error") -> Outgoing:
    return suite_letter(NAMES, job.suite(suite), Cause(code=code, error="it broke", at=float(suite), attempts=3))


def test_dead_letters_are_listed_replayed_and_dropped(installation: Installation) -> None:
    """A replay goes to the judge's queue with its attempts counted anew, and only then leaves the file."""
    aggregator = installation.aggregator()
    job, other = Job(count=8), Job(count=2)
    for suite in range(3):
        installation.send(_letter(job, suite))
    installation.send(_letter(job, 3, code="time-limit"))
    installation.send(_letter(other, 0))

    def listed(**which: Any) -> list[dict[str, Any]]:
        told: list[dict[str, Any]] = aggregator.office.letters(Which(**which))["letters"]
        return told

    wait_until(lambda: len(listed()) == 5, 10, "five letters", every=0.01)
    assert [letter["code"] for letter in listed(job=job.id)] == ["time-limit", "error", "error", "error"]
    groups = aggregator.office.letters(Which(job=job.id), limit=1)["groups"]
    assert [(group["kind"], group["code"], group["letters"], group["tasks"]) for group in groups] == [
        ("tasks", "error", 3, 6),
        ("tasks", "time-limit", 1, 2),
    ]
    assert [(group["first"], group["last"], group["jobs"]) for group in groups] == [(0.0, 2.0, 1), (3.0, 3.0, 1)]
    (late,) = listed(code="time-limit")
    assert aggregator.office.letter(late["id"])["attempts"] == 3
    assert aggregator.office.letter(late["id"])["message"]["payloads"] == ["task 6", "task 7"]
    assert aggregator.office.drop(late["id"]) == 1
    with pytest.raises(NoSuchLetter):
        aggregator.office.letter(late["id"])
    with pytest.raises(NoSuchLetter):
        aggregator.office.replay(late["id"])
    assert aggregator.office.replay_all(Which(job=job.id)).sent == 3
    assert [letter["job"] for letter in listed()] == [other.id]
    assert installation.broker.depth("tasks.one") == (3, 0)
    assert aggregator.office.replay(listed()[0]["id"]).sent == 1
    assert listed() == []


def test_a_letter_that_comes_again_while_it_is_replayed_stays(installation: Installation) -> None:
    """The tasks may fail again before the replay is taken from the file."""
    aggregator = installation.aggregator()
    job = Job(count=2)
    installation.send(_letter(job, 0))
    (letter,) = wait_until(lambda: aggregator.office.letters(Which(job=job.id))["letters"], 10, "it", every=0.01)
    real = aggregator.store.write

    def slowly(*args: Any, **more: Any) -> Any:
        aggregator.store.write = real  # type: ignore[method-assign]
        installation.send(_letter(job, 0))
        wait_until(lambda: aggregator.office.letter(letter["id"])["times"] == 2, 10, "the second", every=0.01)
        return real(*args, **more)

    aggregator.store.write = slowly  # type: ignore[method-assign]
    assert aggregator.office.replay(letter["id"]).sent == 1
    assert aggregator.office.letter(letter["id"])["times"] == 2
    assert aggregator.office.replay(letter["id"]).sent == 1
    assert aggregator.office.letters()["letters"] == []


def test_a_replay_that_is_not_confirmed_stays_on_file(installation: Installation) -> None:
    """No queue takes it: it is said, and nothing is lost."""
    aggregator = installation.aggregator()
    job = Job(count=2)
    gone = suite_letter(NAMES, job.suite(0, judge="nobody"), Cause(code="error", error="it broke", at=1.0))
    installation.send(gone)
    (letter,) = wait_until(lambda: aggregator.office.letters()["letters"], 10, "it", every=0.01)
    aggregator.office.replay(letter["id"])  # to a judge without a queue it comes back as unroutable
    letters = wait_until(lambda: aggregator.office.letters()["letters"], 10, "it again", every=0.01)
    assert [x["code"] for x in letters] == ["unroutable"]
    aggregator.stop(5)
    with pytest.raises(BrokerUnavailable):
        aggregator.office.replay(letters[0]["id"])


def test_a_letter_that_cannot_be_replayed_stops_no_other(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that are confirmed leave the file, on every page; of the others is told why, and they stay."""
    monkeypatch.setattr(office, "LETTERS", 2)
    aggregator = installation.aggregator()
    api, job = installation.api(aggregator), Job(count=8)
    stranger = encode(Event(name="job.exploded", job=job.id))
    for number in range(4):
        installation.send(_letter(job, number))
        delivered = Delivery(queue="events.aggregator", key=f"k{number}", body=stranger.body, type=stranger.type)
        installation.send(raw_letter(NAMES, "events", delivered, Cause(code="error", error="odd", at=1.0)))
    wait_until(lambda: len(api("/api/dead")[1]["letters"]) == 8, 10, "the letters", every=0.01)
    status, told = api("/api/dead/replay", "POST")
    assert (status, told["letters"], told["refused"]["letters"]) == (200, 4, 4)
    left = api("/api/dead")[1]["letters"]
    assert {x["kind"] for x in left} == {"events"}
    assert {x["letter"] for x in told["refused"]["errors"]} == {x["id"] for x in left}
    assert all("job.exploded" in x["error"] for x in told["refused"]["errors"])
    assert installation.broker.depth("tasks.one") == (4, 0)
    status, told = api(f"/api/dead/{left[0]['id']}/replay", "POST")
    assert (status, told["letters"], told["refused"]["letters"]) == (200, 0, 1)


def three_letters(installation: Installation) -> Aggregator:
    """An aggregator with three letters on file."""
    aggregator = installation.aggregator()
    job = Job(count=6)
    for number in range(3):
        installation.send(_letter(job, number))
    wait_until(lambda: len(aggregator.office.letters()["letters"]) == 3, 10, "the letters", every=0.01)
    return aggregator


def test_a_message_that_ends_the_channel_takes_no_letter_with_it(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of those that were on their way with it nobody knows, and they are sent again."""
    aggregator = three_letters(installation)
    errors = [BrokerUnavailable("closed"), Refused("too large"), BrokerUnavailable("closed")]
    publisher = FakePublisher(errors)
    monkeypatch.setattr(aggregator.office, "_publisher", lambda: publisher)
    replayed = aggregator.office.replay_all()
    assert (replayed.sent, replayed.refused, len(publisher.published)) == (2, 1, 2)
    assert list(replayed.errors) == [x["id"] for x in aggregator.office.letters()["letters"]]


def test_what_was_confirmed_before_the_broker_went_leaves_the_file(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest is there for the next time."""
    aggregator = three_letters(installation)
    publisher = FakePublisher([None, BrokerUnavailable("gone"), BrokerUnavailable("gone")])
    monkeypatch.setattr(aggregator.office, "_publisher", lambda: publisher)
    with pytest.raises(BrokerUnavailable):
        aggregator.office.replay_all()
    assert len(aggregator.office.letters()["letters"]) == 2


def test_the_api(installation: Installation) -> None:
    """Every route, as the contract has it."""
    aggregator = installation.aggregator()
    api = installation.api(aggregator)
    job = Job(count=5, size=2, ids=["v", "w", "x", "y", "z"], truths=["a"] * 5)
    installation.publish(*job.news(), job.judged(0), job.judged(1, ["a", "b"]), job.failed(2))
    ended(aggregator, job)
    path = f"/api/jobs/{job.id}"
    status, progress = api(path)
    assert status == 200
    assert {k: progress[k] for k in ("state", "tasks", "answered", "failed", "accuracy", "conserved")} == {
        "state": "partial", "tasks": 5, "answered": 4, "failed": 1, "accuracy": 0.6, "conserved": True,
    }  # fmt: skip
    assert [row["job"] for row in api("/api/jobs")[1]] == [job.id]
    status, page = api(f"{path}/answers?after=0&limit=2")
    assert [row["id"] for row in page["answers"]] == ["w", "x"]
    assert page["next"] == 2
    assert api(f"{path}/answers?after=4")[1] == {"answers": [], "next": None}
    assert api.raw(f"{path}/answers.csv")[1].decode().splitlines()[1:] == [
        "v,a,1,1",
        "w,a,1,1",
        "x,a,1,1",
        "y,b,1,1",
        "z,,,0",
    ]
    assert len(api.raw(f"{path}/answers.jsonl")[1].splitlines()) == 5
    assert api.raw(f"{path}/answers.parquet")[1][:4] == b"PAR1"
    assert api.raw(f"{path}/failed.csv")[1].decode().splitlines()[1:] == ["4,z,error,it broke"]
    assert api(f"{path}/tasks/3")[1][0]["value"] == "b"
    assert api(f"{path}/audit")[1]["conserved"] is True
    (judge,) = api(f"{path}/judges")[1]
    assert (judge["judge"], judge["judgments"], judge["errors"], judge["agreement"], judge["accuracy"]) == (
        "one",
        4,
        1,
        1.0,
        0.75,
    )
    (worker,) = api(f"{path}/workers")[1]
    # three of four right, and 2.8 of the 4 that are counted beforehand
    assert (worker["worker"], worker["judgments"], worker["accuracy"], worker["action"]) == ("one", 4, 0.725, None)
    assert api(f"{path}/worker?name=one")[1]["confusion"].keys() == {"a", "b", "c"}
    assert api(f"{path}/worker?name=two")[0] == 404
    (reputed,) = wait_until(lambda: api("/api/reputations")[1]["reputations"], 20, "the reputation", every=0.01)
    assert reputed == {
        "worker": "one", "type": "choice", "kind": "machine", "jobs": 1, "judgments": 4, "compared": 4,
        "last": progress["ended"],
        **{key: pytest.approx(worker[key], abs=1e-3) for key in ("accuracy", "accuracy_low", "accuracy_high")},
    }  # fmt: skip
    assert api("/api/reputations?limit=1&type=choice&worker=one")[1] == {"reputations": [reputed], "next": "one"}
    assert api("/api/reputations?after=one")[1] == {"reputations": [], "next": None}
    assert api("/api/reputations?type=number")[1]["reputations"] == []
    assert api("/api/reputations?worker=one", "DELETE") == (200, {"jobs": 1})
    assert api("/api/reputations")[1]["reputations"] == []
    installation.send(_letter(job, 2))
    (letter,) = wait_until(lambda: api("/api/dead")[1]["letters"], 10, "the letter", every=0.01)
    assert api(f"/api/dead/{letter['id']}")[1]["error"] == "it broke"
    assert api(f"/api/dead/{letter['id']}/replay", "POST") == (200, {"letters": 1})
    installation.send(_letter(job, 2))
    wait_until(lambda: api("/api/dead")[1]["letters"], 10, "the letter", every=0.01)
    assert api(f"/api/dead/replay?job={job.id}&code=error&cause=none", "POST") == (200, {"letters": 0})
    assert api(f"/api/dead/replay?job={job.id}&code=error", "POST") == (200, {"letters": 1})
    installation.send(_letter(job, 2))
    (letter,) = wait_until(lambda: api("/api/dead")[1]["letters"], 10, "the letter", every=0.01)
    assert api(f"/api/dead/{letter['id']}", "DELETE") == (200, {"letters": 1})
    installation.send(_letter(job, 2))
    wait_until(lambda: api("/api/dead")[1]["letters"], 10, "the letter", every=0.01)
    (group,) = api("/api/dead")[1]["groups"]
    assert (group["letters"], group["error"]) == (1, "it broke")
    assert api("/api/dead", "DELETE")[0] == 422
    assert api(f"/api/dead?all=true&until={group['filed'] - 1}", "DELETE") == (200, {"letters": 0})
    assert api(f"/api/dead?cause={group['cause']}&until={group['filed']}", "DELETE") == (200, {"letters": 1})
    assert api("/readyz") == (200, {"status": "ready", "missing": {}})
    assert b"manyhands_judgments_total" in api.raw("/metrics")[1]
    assert api("/openapi.json")[0] == 200


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/api/jobs/nobody", "GET", 404),
        ("/api/jobs/nobody/answers", "GET", 404),
        ("/api/jobs/nobody/answers.csv", "GET", 404),
        ("/api/jobs/nobody/answers.parquet", "GET", 404),
        ("/api/jobs/nobody/answers.xls", "GET", 422),
        ("/api/jobs/nobody/audit", "GET", 404),
        ("/api/jobs/nobody/judges", "GET", 404),
        ("/api/jobs/nobody/agreement", "GET", 404),
        ("/api/jobs/nobody/rewards", "GET", 404),
        ("/api/jobs/nobody/workers", "GET", 404),
        ("/api/jobs/nobody/worker?name=one", "GET", 404),
        ("/api/jobs/nobody/answers?limit=0", "GET", 422),
        ("/api/jobs/nobody/answers?wait=soon", "GET", 422),
        ("/api/reputations?type=colour", "GET", 422),
        ("/api/reputations?limit=0", "GET", 422),
        ("/api/reputations", "DELETE", 422),
        ("/api/dead/none", "GET", 404),
        ("/api/dead/none", "DELETE", 404),
        ("/api/dead/none/replay", "POST", 404),
        ("/api/nothing", "GET", 404),
        ("/api/jobs", "PATCH", 405),
    ],
)
def test_errors_are_one_sentence(shared_api: Api, path: str, method: str, status: int) -> None:
    """Every error is JSON with one sentence."""
    found, body = shared_api(path, method)
    assert found == status
    assert list(body) == ["error"]
    assert isinstance(body["error"], str)


@pytest.fixture(scope="module")
def shared_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """The API of an aggregator without jobs."""
    installation = Installation(f"sqlite:///{tmp_path_factory.mktemp('api') / 'test.db'}")
    yield installation.api(installation.aggregator())
    installation.close()


def test_the_token(installation: Installation) -> None:
    """The API asks for it; health, readiness and metrics do not."""
    api = installation.api(installation.aggregator(), token="sesame")
    assert api("/api/jobs")[0] == 401
    assert "error" in api("/api/jobs")[1]
    assert Api(api.base, "guess")("/api/jobs")[0] == 401
    assert Api(api.base, "sesame")("/api/jobs") == (200, [])
    both = installation.api(installation.aggregator(), token="sesame, poppy,")
    assert [Api(both.base, token)("/api/jobs")[0] for token in ("sesame", "poppy", "sesame, poppy", ",", "")] == [
        200, 200, 401, 401, 401,
    ]  # fmt: skip
    for path in ("/healthz", "/readyz", "/metrics"):
        assert api.raw(path)[0] == 200
