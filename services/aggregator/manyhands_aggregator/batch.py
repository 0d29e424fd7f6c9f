"""Deliveries decoded and sorted by what they are: news, judgments, letters, and what is none of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from manyhands import logs, tracing
from manyhands.broker import Delivery, Outgoing
from manyhands.clock import Clock
from manyhands.codec import JUDGMENTS, addressed, decode
from manyhands.deadletters import Cause, raw_letter
from manyhands.errors import DecodeError
from manyhands.messages import JOB_ID, Event, Judgments
from manyhands.topology import Names
from manyhands_aggregator import early, judging, news
from manyhands_aggregator.judged import Said
from manyhands_aggregator.news import News
from manyhands_aggregator.senders import FORGED, Senders
from manyhands_aggregator.suite import STRANGER, UNDECODABLE

_log = logs.get(__name__)


@dataclass(slots=True)
class Batch:
    """Deliveries, decoded and sorted by what they are; ``out`` is what becomes of those that are none of it."""

    news: list[News] = field(default_factory=list)
    judgments: list[Said] = field(default_factory=list)
    letters: list[Delivery] = field(default_factory=list)
    out: list[Outgoing] = field(default_factory=list)


class Sorter:
    """Makes batches, and the letters of what is set aside."""

    def __init__(self, names: Names, clock: Clock, limit: int) -> None:
        self._names, self._clock, self._limit = names, clock, limit
        self._dead = set(names.dead_queues)

    def sort(self, deliveries: Sequence[Delivery], senders: Senders) -> Batch:
        """The batch of these deliveries; whoever speaks in another's name is not heard."""
        batch = Batch()
        for delivery in deliveries:
            if self.is_letter(delivery):
                batch.letters.append(delivery)
                continue
            kind = self._kind(delivery)
            ours = early.is_ours(delivery)
            limit = judging.OWN_LIMIT if ours else self._limit
            try:
                message = decode(delivery.body, delivery.type, delivery.content_encoding, limit=limit)
                if isinstance(message, Event) and kind == "events":
                    batch.news.append(news.read(message))
                elif isinstance(message, Judgments) and kind == "judgments":
                    if not JOB_ID.fullmatch(message.job):
                        raise ValueError("there can be no job of this id")
                    self._admit(batch, Said(message, None if ours else delivery, seen=delivery.redelivered), senders)
                else:
                    raise DecodeError(f"{delivery.type} has no place among the {kind}", delivery.body)
            except DecodeError as error:
                skeleton = self._addressed(delivery) if kind == "judgments" else None
                if skeleton is not None:
                    self._admit(batch, Said(skeleton, delivery, str(error), delivery.redelivered), senders)
                else:
                    batch.out.append(self.set_aside(delivery, UNDECODABLE, str(error)))
            except ValueError as error:
                code = "invalid-event" if kind == "events" else STRANGER
                batch.out.append(self.set_aside(delivery, code, str(error)))
        return batch

    def _admit(self, batch: Batch, said: Said, senders: Senders) -> None:
        forged = senders.forged(said.message, said.delivery) if said.delivery is not None else None
        if forged is None or said.delivery is None:
            batch.judgments.append(said)
        else:  # told: what others say in its name has no bearing on a judge's tasks
            batch.out.append(self.set_aside(said.delivery, FORGED, forged, judge=said.message.judge, told=True))

    def _addressed(self, delivery: Delivery) -> Judgments | None:
        """For which tasks judgments speak that are no valid message; None where that cannot be known."""
        if delivery.type != JUDGMENTS:
            return None
        message = addressed(delivery.body, delivery.type, delivery.content_encoding, limit=self._limit)
        return message if message is not None and JOB_ID.fullmatch(message.job) else None

    def is_letter(self, delivery: Delivery) -> bool:
        """Whether it comes from where dead letters go."""
        return delivery.queue in self._dead

    def _kind(self, delivery: Delivery) -> str:
        return "events" if delivery.queue == self._names.events_queue("aggregator") else "judgments"

    def set_aside(
        self, delivery: Delivery, code: str, error: str, *, traceback: str = "", judge: str = "", told: bool = False
    ) -> Outgoing:
        """The dead letter of a delivery, of this ``judge`` if known; ``told`` when its tasks are told of elsewhere."""
        kind, whose = self._kind(delivery), {"judge": judge} if judge else {}
        _log.warning("set aside", kind=kind, code=code, error=error, **whose, **tracing.bound(delivery))
        cause = Cause(code=code, error=error, at=self._clock.now(), traceback=traceback, told=told)
        return raw_letter(self._names, kind, delivery, cause)
