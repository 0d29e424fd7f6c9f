"""What the aggregator tells the producer: suites settled, tasks to be judged again, jobs ended."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from manyhands import logs, tracing
from manyhands.broker import Delivery, Outgoing
from manyhands.clock import Clock
from manyhands.codec import decode
from manyhands.deadletters import Cause, raw_letter
from manyhands.errors import DecodeError, TooLarge, UnknownJob
from manyhands.messages import JOB_COMPLETED, JOB_ID, SUITE_ESCALATED, SUITES_SETTLED, WORKER_RATED, Event
from manyhands.runner import Finish, Outcome
from manyhands.spec import received
from manyhands.topology import Names
from manyhands_producer.board import Board
from manyhands_producer.outgoing import Messages
from manyhands_producer.spool import Spooled
from manyhands_producer.store import ProducerStore

_log = logs.get(__name__)


class Events:
    """Takes in events under :class:`manyhands.runner.Runner`; every one of them may come twice, or late."""

    def __init__(self, names: Names, limit: int, store: ProducerStore, board: Board, clock: Clock) -> None:
        self._names, self._store, self._board, self._clock = names, store, board, clock
        self._messages = Messages(names, limit)

    def handle(self, deliveries: list[Delivery], finish: Finish) -> None:
        """One transaction for all that is settled or ended; what is escalated is published before it is acked.

        Raises:
            StoreUnavailable: nothing was taken in; the deliveries are to be handed back.
        """
        settled: defaultdict[str, set[int]] = defaultdict(set)
        ended: dict[str, dict[str, Any]] = {}
        out: list[Outgoing] = []
        for delivery in deliveries:
            try:
                event = _event(delivery)
                if event.name == SUITES_SETTLED:
                    settled[event.job].update(_numbers(event, "suites"))
                elif event.name == SUITE_ESCALATED:
                    out += self._escalated(event, tracing.caused_by(delivery))
                    self._board.heard(event.job)
                elif event.name == JOB_COMPLETED:
                    if ended.get(event.job, {}).get("state") != "complete":  # after which nothing comes
                        ended[event.job] = _outcome(event)
                elif event.name == WORKER_RATED:
                    self._rated(event)
                else:
                    raise DecodeError(f"{event.name} is no event for the producer", delivery.body)
            except DecodeError as error:
                _log.warning("set aside", code="undecodable", error=str(error), **tracing.bound(delivery))
                cause = Cause(code="undecodable", error=str(error), at=self._clock.now())
                out.append(raw_letter(self._names, "events", delivery, cause))
        if settled or ended:
            gone = self._store.settle(settled, ended)
            for job, suites in gone.items():
                self._board.settled(job, suites)
            for job in ended:
                self._ended(job)
        finish(Outcome(deliveries=deliveries, publish=out))

    def _ended(self, job: str) -> None:
        live = self._board.get(job)
        if live is None:
            return
        row = self._store.job(job)
        self._board.moved(row)
        if row.closed:
            self._board.remove(live)
        _log.info("job ended", job=job, state=row.state)

    def _escalated(self, event: Event, headers: Mapping[str, str]) -> list[Outgoing]:
        """The suite for one judge's slot, of any stage, and only the positions that are asked for."""
        try:
            number, stage, slot, attempt = (_whole(event.data[key]) for key in ("suite", "stage", "slot", "attempt"))
            judge = event.data["judge"]
        except KeyError as error:
            raise DecodeError(f"{event.name} lacks {error.args[0]!r}", b"") from error
        if not isinstance(judge, str):
            raise DecodeError(f"{event.name}: judge must be text", b"")
        wanted = _numbers(event, "positions")
        try:
            row = self._store.job(event.job)
        except UnknownJob:
            return []  # settled long ago, and gone
        suite = self._store.suites(row.number, [number]).get(number)
        if suite is None or row.state in ("cancelled", "ended"):
            return []
        live = self._board.get(event.job)
        spec = received(row.spec) if live is None else live.spec
        positions, payloads = _part(suite, wanted)
        if stage >= len(spec.stages) or judge not in {j.judge for j in spec.stages[stage].judges}:
            raise DecodeError(f"{event.name}: stage {stage} of {event.job} has no judge {judge[:100]!r}", b"")
        if not positions:
            return []
        try:
            message = self._messages.suite(
                event.job, number, judge, slot, positions, payloads,
                spec=spec, digest=row.digest, opened=row.opened, now=self._clock.now(), stage=stage,
                attempt=attempt, headers=headers,
            )  # fmt: skip
        except TooLarge as error:
            raise DecodeError(str(error), b"") from error
        return [message]

    def _rated(self, event: Event) -> None:
        """Ask no more of who is retired; what else follows of a rating, the aggregator decides."""
        worker, action = event.data.get("worker"), event.data.get("action")
        if not isinstance(worker, str) or not isinstance(action, str | None):
            raise DecodeError(f"{event.name}: worker and action must be text", b"")
        _log.info("worker rated", job=event.job, worker=worker[:200], action=action)
        if action == "retire":
            self._board.retire(event.job, worker)


def _event(delivery: Delivery) -> Event:
    message = decode(delivery.body, delivery.type, delivery.content_encoding)
    if not isinstance(message, Event):
        raise DecodeError(f"{delivery.type} has no place among the events", delivery.body)
    if not JOB_ID.fullmatch(message.job):
        raise DecodeError("there can be no job of this id", delivery.body)
    return message


def _outcome(event: Event) -> dict[str, Any]:
    """How a job ended: its state, and the counts that were said with it."""
    state = event.data.get("state")
    if state not in ("complete", "partial", "cancelled"):
        raise DecodeError(f"{event.name}: {state!r} is no state in which a job ends", b"")
    counts = ("tasks", "answered", "failed", "cancelled")
    return {"state": state, **{key: _whole(event.data[key]) for key in counts if key in event.data}}


def _part(suite: Spooled, wanted: Sequence[int]) -> tuple[list[int], list[Any]]:
    asked = set(wanted)
    pairs = [(p, load) for p, load in zip(suite.positions, suite.payloads, strict=True) if p in asked]
    return [p for p, _ in pairs], [load for _, load in pairs]


def _numbers(event: Event, key: str) -> list[int]:
    values = event.data.get(key)
    if not isinstance(values, list):
        raise DecodeError(f"{event.name}: {key} must be a list of whole numbers", b"")
    return [_whole(value) for value in values]


def _whole(value: object) -> int:
    if type(value) is not int or not 0 <= value < 1 << 53:
        raise DecodeError(f"a whole number from 0 is expected, not {value!r}", b"")
    return value
