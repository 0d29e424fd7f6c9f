"""Where each judge's workers have a user of their own: what another user says in a judge's name has no effect."""

from __future__ import annotations

from dataclasses import replace

import pytest

from manyhands.broker import Delivery
from manyhands.messages import Judgments, Suite
from manyhands.settings import load
from manyhands_aggregator import deadlist
from manyhands_aggregator.senders import FORGED, Senders
from manyhands_aggregator.settings import AggregatorSettings
from manyhands_service.store import Store
from tests.unit.aggregator.kit import NAMES, Bench, Job, delivery, from_letter, letters

SENDERS = Senders(lambda judge: f"mh-worker-{judge}", "mh-aggregator")
ONE, OTHER = "mh-worker-one", "mh-worker-other"


@pytest.fixture
def bench(store: Store) -> Bench:
    """An aggregator's parts that know who may send what."""
    return Bench(store, senders=SENDERS)


@pytest.mark.parametrize("user", [OTHER, "mh-worker", "mh-producer", "", None])
def test_forged_judgments_are_set_aside(bench: Bench, user: str | None) -> None:
    """The judge's own come in, before or after; the task does not fail of the forgery, nor of its dead letter."""
    job = Job(count=2)
    bench.take(*job.news())
    (letter,) = letters(bench.take(delivery(job.judged(0, "b"), user=user)))
    assert letter.headers["mh-code"] == FORGED
    bench.take(replace(from_letter(letter), user=SENDERS.own))
    assert bench.counts(job) == (2, 0, 0, 0, 2)
    assert letters(bench.take(delivery(job.judged(0, "a"), user=ONE))) == []
    assert bench.answers(job).values == ["a", "a"]


def test_forged_and_torn(bench: Bench) -> None:
    """What is forged and no whole message is no invalid answer of the judge's either."""
    job = Job(count=2)
    bench.take(*job.news())
    torn = delivery(replace(job.judged(0, "b"), confidences=[7.0, 7.0]), user=OTHER)
    (letter,) = letters(bench.take(torn))
    assert letter.headers["mh-code"] == FORGED
    bench.take(delivery(job.judged(0, "a"), user=ONE))
    assert bench.counts(job) == (2, 2, 0, 0, 0)


def test_what_came_early_was_looked_at_when_it_came(bench: Bench) -> None:
    """Judgments before the news of their job are held and taken in later; forged ones are not even held."""
    job = Job(count=2)
    assert len(letters(bench.take(delivery(job.judged(0, "b"), user=OTHER)))) == 1
    assert letters(bench.take(delivery(job.judged(0, "a"), user=ONE))) == []
    bench.take(*job.news())
    bench.swept()
    assert bench.answers(job).values == ["a", "a"]


def test_the_aggregator_may_replay(bench: Bench) -> None:
    """A dead letter that is replayed is sent by the aggregator itself."""
    job = Job(count=2)
    bench.take(*job.news())
    bench.take(delivery(job.judged(0, "a"), user=SENDERS.own))
    assert bench.counts(job) == (2, 2, 0, 0, 0)


def letter(message: Suite | Judgments, queue: str, key: str, user: str | None = None) -> Delivery:
    """A dead letter that says nothing of its cause, as the broker sets messages aside."""
    return replace(delivery(message, NAMES.queue(queue), user=user), key=key)


def test_a_forged_dead_letter_fails_no_task(bench: Bench) -> None:
    """Of another judge's tasks, or of its judgments: it is filed, and nothing follows."""
    job = Job(count=2)
    bench.take(*job.news())
    forged = [
        letter(job.suite(0), "dead.tasks", "tasks.other", OTHER),
        letter(job.judged(0), "dead.tasks", "tasks.other", OTHER),
        letter(job.judged(0), "dead.judgments", "judgments.0", OTHER),
        letter(job.suite(0), "dead.judgments", "judgments.0", OTHER),
        letter(job.suite(0), "dead.unrouted", "other.1s", OTHER),
    ]
    bench.take(*forged)
    assert len(bench.store.read(lambda c: deadlist.listing(c))) == len(forged)
    assert bench.counts(job) == (2, 0, 0, 0, 2)


@pytest.mark.parametrize(
    ("queue", "key", "user"),
    [
        ("dead.tasks", "tasks.one", None),
        ("dead.unrouted", "one", "mh-producer"),
        ("dead.unrouted", "one.1s", None),
        ("dead.judgments", "judgments.0", ONE),
        ("dead.judgments", "judgments.0", SENDERS.own),
    ],
)
def test_a_true_dead_letter_fails_its_tasks(bench: Bench, queue: str, key: str, user: str | None) -> None:
    """Every job ends: what the judge's workers or the broker set aside is believed."""
    job = Job(count=2)
    bench.take(*job.news())
    bench.take(letter(job.suite(0), queue, key, user))
    assert bench.counts(job) == (2, 0, 2, 0, 0)


def test_settings() -> None:
    """The aggregator's own user is the one of its URL; without MANYHANDS_WORKER_USER users say nothing."""
    given = {"broker": "amqp://mh%2Daggregator:p%40ss@broker/v", "worker_user": "x.mh-worker-{judge}"}
    settings = load(AggregatorSettings, **given)
    assert settings.own_user == "mh-aggregator"
    assert settings.user_of("svm") == "x.mh-worker-svm"
    silent = load(AggregatorSettings, broker=given["broker"])
    assert silent.own_user is None
    assert silent.user_of("svm") is None
