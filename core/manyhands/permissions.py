"""Which user of RabbitMQ may do what, made from the topology: no service has a right that its code does not use.

RabbitMQ asks for *configure* to create and delete, for *write* to publish, and for *read* to consume; each is a regular
expression over the names of exchanges and queues. On a topic exchange a second expression narrows the routing keys.
Source: https://www.rabbitmq.com/docs/access-control
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal

from manyhands.backoff import LADDER
from manyhands.topology import EVENTS, JUDGE_NAME, SUSPECT, Names, topology

Service = Literal["producer", "worker", "aggregator", "admin", "monitor"]
SERVICES: tuple[Service, ...] = ("producer", "worker", "aggregator", "admin", "monitor")

#: Matches no name. Not the default exchange either, which RabbitMQ calls ``amq.default`` here: through it one could
#: publish to any queue.
NOTHING = "^$"
#: RabbitMQ's tags of a user; ``monitoring`` may read the management API and no message.
TAGS: dict[Service, tuple[str, ...]] = {"monitor": ("monitoring",)}


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicPermission:
    """The routing keys that a user may publish (``write``) or bind (``read``) on a topic exchange."""

    exchange: str
    write: str = NOTHING
    read: str = NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class Permissions:
    """What a user may do in the virtual host; on a topic exchange without an entry in ``topics`` any key."""

    configure: str = NOTHING
    write: str = NOTHING
    read: str = NOTHING
    topics: tuple[TopicPermission, ...] = ()


def permissions(names: Names, service: Service, judges: Collection[str] = ()) -> Permissions:
    """What a service needs and no more, with MANYHANDS_DECLARE=false.

    ``judges`` are those that a worker serves; a worker without any named may serve all. The others do not depend on
    them: a job may name a judge that comes later.
    """
    match service:
        case "producer":
            # whether a job stands still is asked of the queues, as an audit is by the aggregator: see there
            asked = _families(names, {"tasks", "suspects", "retry", "judgments", "events", "dead"})
            return Permissions(
                # mh.dead: an event that it cannot read is set aside
                write=_whole([*(_text(names.exchange(e)) for e in ("tasks", "events", "dead")), *asked]),
                read=_names([names.events_queue("producer")]),
                topics=(
                    TopicPermission(exchange=names.exchange("tasks"), write=_keys([_judges()])),
                    TopicPermission(exchange=names.exchange("events"), write=_keys(map(_text, EVENTS["aggregator"]))),
                    TopicPermission(exchange=names.exchange("dead"), write=_keys([r"events\..+"])),
                ),
            )
        case "worker":
            mine = _judges(judges)
            back = f"(?:{_rungs()}|{SUSPECT})"
            return Permissions(
                write=_names(names.exchange(e) for e in ("judgments", "retry", "dead")),
                read=_whole([_text(names.queue("")) + rf"(?:tasks|suspects)\.{mine}"]),
                topics=(
                    TopicPermission(exchange=names.exchange("retry"), write=_keys([rf"{mine}\.{back}"])),
                    TopicPermission(exchange=names.exchange("dead"), write=_keys([rf"tasks\.{mine}"])),
                ),
            )
        case "aggregator":
            partitions = [names.judgments_queue(p) for p in range(names.partitions)]
            told = [event for role in EVENTS.values() for event in role]
            # mh.tasks, mh.judgments and the producer's events: what a dead letter held, when it is replayed
            exchanges = [names.exchange(e) for e in ("tasks", "judgments", "events", "dead")]
            # an audit asks how long queues are, for which RabbitMQ 4.3 wants some right to each. Write is the harmless
            # one: a queue is written to by binding only, which takes reading an exchange as well
            asked = _families(names, {"tasks", "suspects", "retry", "events"})
            return Permissions(
                write=_whole([*map(_text, exchanges), *asked]),
                read=_names([*partitions, names.events_queue("aggregator"), *names.dead_queues]),
                topics=(
                    TopicPermission(exchange=names.exchange("tasks"), write=_keys([rf"{_judges()}(?:\.{_rungs()})?"])),
                    TopicPermission(exchange=names.exchange("events"), write=_keys(map(_text, told))),
                    TopicPermission(exchange=names.exchange("dead"), write=_keys([r"(?:judgments|events)\..+"])),
                ),
            )
        case "admin":
            # to declare takes more than configure: binding reads the exchange and writes the queue, dead-lettering
            # reads the queue and writes the exchange
            everything = _installation(names)
            return Permissions(configure=everything, write=everything, read=everything)
        case "monitor":
            return Permissions()


def user_name(names: Names, service: Service, judge: str = "") -> str:
    """A service's user; ``judge`` for a worker with a user of its own. The namespace comes first, as in every name."""
    return names.queue(f"mh-{service}-{judge}" if judge else f"mh-{service}")


def users(
    names: Names, judges: Collection[str] = (), *, user_per_judge: bool = False
) -> dict[str, tuple[Service, Permissions]]:
    """Every user of an installation, by name.

    With ``user_per_judge`` each judge's workers have a user of their own, who reaches nothing of the other judges;
    without it one user is for the workers of all the judges.
    """
    found: dict[str, tuple[Service, Permissions]] = {}
    for service in SERVICES:
        if service == "worker" and user_per_judge:
            for judge in judges:
                found[user_name(names, service, judge)] = service, permissions(names, service, [judge])
        else:
            found[user_name(names, service)] = service, permissions(names, service, judges)
    return found


def _installation(names: Names) -> str:
    """Every exchange, and every queue by the first part of its name: judges may come later."""
    whole = topology(names, ["judge"])
    families = {q.name.removeprefix(names.queue("")).partition(".")[0] for q in whole.queues}
    return _whole([*(_text(e.name) for e in whole.exchanges), *_families(names, families)])


def _families(names: Names, families: Collection[str]) -> list[str]:
    return [rf"{_text(names.queue(family))}\.[a-z0-9_-]+" for family in sorted(families)]


def _names(some: Iterable[str]) -> str:
    return _whole(map(_text, some))


def _keys(patterns: Iterable[str]) -> str:
    return _whole(patterns)


def _judges(judges: Collection[str] = ()) -> str:
    return f"(?:{'|'.join(map(_text, judges))})" if judges else f"(?:{JUDGE_NAME.pattern})"


def _rungs() -> str:
    return f"(?:{'|'.join(f'{seconds:g}s' for seconds in LADDER)})"


def _text(name: str) -> str:
    # of what names may consist of, only the dot means something else in a pattern
    return name.replace(".", r"\.")


def _whole(patterns: Iterable[str]) -> str:
    """The whole of a name; RabbitMQ's own matching is content with a part of it."""
    found = "|".join(patterns)
    return f"^(?:{found})$" if found else NOTHING
