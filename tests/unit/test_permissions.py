"""Who may do what on the broker: what each service does is allowed, and what it does not do is not."""

from __future__ import annotations

import re

import pytest

from manyhands.backoff import LADDER
from manyhands.permissions import NOTHING, Permissions, Service, permissions, users
from manyhands.topology import EVENTS, Names, topology

JUDGES = ("svm", "near-est_2")
NAMES = [Names(), Names(namespace="test", partitions=3)]
ids = ["alone", "namespace"]


def may_publish(may: Permissions, route: tuple[str, str]) -> bool:
    """Whether RabbitMQ would let such a user publish with this exchange and key."""
    exchange, key = route
    topics = [t for t in may.topics if t.exchange == exchange]
    # RabbitMQ searches the pattern in the name, and does not ask that it be the whole of it
    return bool(re.search(may.write, exchange)) and all(re.search(t.write, key) for t in topics)


def readable(names: Names, may: Permissions) -> set[str]:
    """The queues of the installation, and of others, from which it may take."""
    others = topology(Names(namespace="other", partitions=names.partitions), JUDGES)
    queues = [*topology(names, [*JUDGES, "third"]).queues, *others.queues]
    return {q.name for q in queues if re.search(may.read, q.name)}


@pytest.mark.parametrize("names", NAMES, ids=ids)
def test_producer(names: Names) -> None:
    """It hands out suites and tells of jobs; it can judge nothing, and says nothing that the aggregator says."""
    may = permissions(names, "producer")
    assert readable(names, may) == {names.events_queue("producer")}
    assert all(may_publish(may, names.to_judge(judge)) for judge in (*JUDGES, "any"))
    assert all(may_publish(may, names.to_roles(event)) for event in EVENTS["aggregator"])
    assert may_publish(may, names.to_dead("events", "job.completed"))
    assert not any(may_publish(may, names.to_roles(event)) for event in EVENTS["producer"])
    assert not may_publish(may, names.to_aggregator("job", 1))
    assert not may_publish(may, names.to_retry("svm", LADDER[0]))
    assert not may_publish(may, names.to_dead("tasks", "svm"))
    assert all(re.search(may.write, queue.name) for queue in topology(names, JUDGES).queues)  # to ask for its length


@pytest.mark.parametrize("key", ["a\nb", "\n", "b\n", "x" * 255, "\0", "\u2028"])
@pytest.mark.parametrize(("service", "kind"), [("producer", "events"), ("aggregator", "judgments")])
def test_what_a_stranger_sent_may_be_set_aside(service: Service, kind: str, key: str) -> None:
    """Whatever key it came with: a letter that is refused ends its channel and is published again for ever."""
    assert may_publish(permissions(NAMES[0], service), NAMES[0].to_dead(kind, key))


@pytest.mark.parametrize("names", NAMES, ids=ids)
def test_worker_of_one_judge(names: Names) -> None:
    """It takes its own judge's suites and brings them back; it reaches no other judge, and hands nothing out."""
    may = permissions(names, "worker", ["svm"])
    assert readable(names, may) == {names.tasks_queue("svm"), names.suspects_queue("svm")}
    assert may_publish(may, names.to_aggregator("job", 1))
    assert all(may_publish(may, names.to_retry("svm", rung)) for rung in LADDER)
    assert may_publish(may, names.to_suspects("svm"))
    assert may_publish(may, names.to_dead("tasks", "svm"))
    assert not may_publish(may, names.to_judge("svm"))
    assert not may_publish(may, names.to_retry("near-est_2", LADDER[0]))
    assert not may_publish(may, names.to_retry("svm-2", LADDER[0]))
    assert not may_publish(may, names.to_suspects("near-est_2"))
    assert not may_publish(may, (names.exchange("retry"), "svm.7s"))
    assert not may_publish(may, names.to_dead("tasks", "near-est_2"))
    assert not may_publish(may, names.to_dead("judgments", "0"))
    assert not any(may_publish(may, names.to_roles(event)) for told in EVENTS.values() for event in told)


@pytest.mark.parametrize("names", NAMES, ids=ids)
def test_worker_of_some_and_of_all_judges(names: Names) -> None:
    """One user may serve several judges, and those of judges that are not named all of them."""

    def queues_of(*judges: str) -> set[str]:
        return {queue for judge in judges for queue in (names.tasks_queue(judge), names.suspects_queue(judge))}

    assert readable(names, permissions(names, "worker", JUDGES)) == queues_of(*JUDGES)
    every = permissions(names, "worker")
    assert readable(names, every) == queues_of(*JUDGES, "third")
    assert may_publish(every, names.to_retry("third", LADDER[-1]))
    assert not may_publish(every, names.to_judge("third"))


@pytest.mark.parametrize("names", NAMES, ids=ids)
def test_aggregator(names: Names) -> None:
    """It takes judgments, its events and whatever is set aside, and may send dead letters out again."""
    may = permissions(names, "aggregator")
    partitions = {names.judgments_queue(p) for p in range(names.partitions)}
    assert readable(names, may) == {*partitions, names.events_queue("aggregator"), *names.dead_queues}
    assert all(may_publish(may, names.to_roles(event)) for told in EVENTS.values() for event in told)
    assert may_publish(may, names.to_judge("svm"))
    assert may_publish(may, (names.exchange("tasks"), "svm.1s"))
    assert may_publish(may, names.to_aggregator("job", 1))
    assert may_publish(may, names.to_dead("judgments", "0"))
    assert not may_publish(may, names.to_dead("tasks", "svm"))
    assert not may_publish(may, names.to_retry("svm", LADDER[0]))
    assert not may_publish(may, names.to_roles("job.exploded"))


@pytest.mark.parametrize("names", NAMES, ids=ids)
def test_only_the_admin_declares(names: Names) -> None:
    """It may do everything with what is of its installation, queues of judges to come among it, and nothing else."""
    whole = topology(names, [*JUDGES, "third"])
    everything = {e.name for e in whole.exchanges} | {q.name for q in whole.queues}
    for service, may in users(names, JUDGES).values():
        if service == "admin":
            assert all(re.search(may.configure, name) for name in everything)
            assert may.configure == may.write == may.read
        else:
            assert may.configure == NOTHING
    admin = permissions(names, "admin")
    assert not any(re.search(admin.configure, name) for name in ("", "amq.default", "amq.topic", "other.mh.tasks", "x"))


@pytest.mark.parametrize("names", NAMES, ids=ids)
def test_nobody_goes_round_the_exchanges(names: Names) -> None:
    """Through the default exchange one could publish to any queue: nobody may, nor in another namespace."""
    for _, may in users(names, JUDGES, user_per_judge=True).values():
        for name in ("amq.default", "amq.topic", f"x{names.exchange('tasks')}", f"{names.exchange('tasks')}x"):
            assert not re.search(may.write, name)
        assert not may_publish(may, Names(namespace="other").to_judge("svm"))


@pytest.mark.parametrize("names", NAMES, ids=ids)
def test_users(names: Names) -> None:
    """A user a service; on demand one for each judge's workers."""
    prefix = names.queue("")
    shared: list[Service] = ["producer", "worker", "aggregator", "admin", "monitor"]
    assert list(users(names)) == [f"{prefix}mh-{service}" for service in shared]
    each = users(names, JUDGES, user_per_judge=True)
    assert set(each) == {
        *(f"{prefix}mh-{service}" for service in shared if service != "worker"),
        *(f"{prefix}mh-worker-{judge}" for judge in JUDGES),
    }
    assert each[f"{prefix}mh-worker-svm"][1] == permissions(names, "worker", ["svm"])
    assert each[f"{prefix}mh-monitor"][1] == Permissions()
