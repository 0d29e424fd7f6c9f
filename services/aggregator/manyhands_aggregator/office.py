"""The dead-letter office: what the API and the command line ask about letters on file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from dataclasses import replace as with_
from itertools import islice
from typing import Any

import sqlalchemy as sa

from manyhands import logs
from manyhands.broker import Outgoing, Publisher
from manyhands.clock import Clock
from manyhands.errors import BrokerError, BrokerUnavailable
from manyhands.topology import Names
from manyhands_aggregator import deadlist, replay
from manyhands_aggregator.confirms import publish_each
from manyhands_aggregator.deadlist import ALL, Which
from manyhands_aggregator.replay import ANY, Versions
from manyhands_service.store import Store

_log = logs.get(__name__)

#: Dead letters that are replayed or dropped in one go.
LETTERS = 50


#: Letters of which is told why they could not be sent, at most.
TOLD = 100


@dataclass(slots=True)
class Replayed:
    """What became of letters to be sent again: how many were, how many stay on file, and of some of these why."""

    sent: int = 0
    refused: int = 0
    errors: dict[str, str] = field(default_factory=dict)

    def refuse(self, letters: Mapping[str, BrokerError]) -> None:
        """These could not be sent."""
        self.refused += len(letters)
        for letter, error in islice(letters.items(), max(0, TOLD - len(self.errors))):
            self.errors[letter] = str(error)


class Office:
    """Dead letters listed, shown, replayed, dropped. Any thread may ask; so may several at once, in any replica.

    ``publisher`` says who publishes by now; None until there is one.
    """

    def __init__(self, store: Store, names: Names, clock: Clock, publisher: Callable[[], Publisher | None]) -> None:
        self._store, self._names, self._clock, self._publisher = store, names, clock, publisher

    def letters(self, which: Which = ALL, *, limit: int = 100) -> dict[str, Any]:
        """Dead letters, grouped and listed."""
        return self._store.read(
            lambda c: {"groups": deadlist.groups(c, which), "letters": deadlist.listing(c, which, limit=limit)}
        )

    def letter(self, letter: str) -> dict[str, Any]:
        """One dead letter whole.

        Raises:
            NoSuchLetter: it is not there.
        """
        return self._store.read(lambda c: deadlist.show(c, letter))

    def replay(self, letter: str, versions: Versions = ANY) -> Replayed:
        """Send a dead letter out again, confirm, and only then take it from the file.

        Raises:
            NoSuchLetter: it is not there.
            BrokerUnavailable: it is still on file; it may have been sent, which does no harm.
        """
        replayed = Replayed()
        self._replay([letter], versions, replayed)
        if not replayed.sent + replayed.refused:
            raise deadlist.no_such(letter)
        return replayed

    def replay_all(self, which: Which = ALL, versions: Versions = ANY) -> Replayed:
        """The same for all these letters that there are now; one that cannot be sent costs no other.

        Raises:
            BrokerUnavailable: some are still on file.
        """
        replayed = Replayed()
        for some in self._pages(which):
            self._replay(some, versions, replayed)
        return replayed

    def drop(self, letter: str) -> int:
        """Take a dead letter from the file for good.

        Raises:
            NoSuchLetter: it is not there.
        """
        if not self._drop([letter]):
            raise deadlist.no_such(letter)
        return 1

    def drop_all(self, which: Which) -> int:
        """The same for all these letters that there are now; how many there were."""
        return sum(self._drop(some) for some in self._pages(which))

    def _pages(self, which: Which) -> Iterator[list[str]]:
        """The letters there are now, a page at a time: what comes meanwhile is for the next time."""
        until = self._store.read(lambda c: deadlist.newest(c, which))
        if until is None:
            return
        which = with_(which, until=until)

        def page(after: str) -> list[str]:
            return self._store.read(lambda c: deadlist.ids(c, which, after=after, limit=LETTERS))

        some = page("")
        while some:
            yield some
            some = page(some[-1])

    def _replay(self, letters: list[str], versions: Versions, replayed: Replayed) -> None:
        """Send these; those that are confirmed leave the file, whatever becomes of the others."""
        publisher = self._publisher()
        if publisher is None or not publisher.ready:  # a publisher that is blocked would keep us waiting
            raise BrokerUnavailable("the letters stay on file; try again when the aggregator is ready")
        now = self._clock.now()
        refused: dict[str, BrokerError] = {}

        def messages(connection: sa.Connection) -> dict[str, tuple[Outgoing, int]]:
            found: dict[str, tuple[Outgoing, int]] = {}
            for letter in letters:
                try:
                    message = replay.outgoing(connection, self._names, letter, now, versions)
                except BrokerError as error:
                    refused[letter] = error
                else:
                    if message is not None:  # else it was replayed or dropped by somebody else meanwhile
                        found[letter] = message
            return found

        left = self._store.read(messages)
        while left:
            became = dict(zip(left, publish_each(publisher, [message for message, _ in left.values()]), strict=True))
            sent = {letter: left[letter][1] for letter, error in became.items() if error is None}
            if sent:
                self._store.write(lambda c, s=sent: replay.drop(c, s))  # type: ignore[misc]  # mypy infers no lambda defaults
                _log.info("dead letters replayed", letters=list(sent))
                replayed.sent += len(sent)
            away = {letter: error for letter, error in became.items() if isinstance(error, BrokerUnavailable)}
            told = {letter: error for letter, error in became.items() if error is not None and letter not in away}
            if away and not told:
                raise next(iter(away.values()))
            refused |= told
            left = {letter: left[letter] for letter in away}  # the channel may have ended for what was refused
        if refused:
            _log.warning("dead letters not replayed", letters=list(refused), error=str(next(iter(refused.values()))))
            replayed.refuse(refused)

    def _drop(self, letters: list[str]) -> int:
        dropped = self._store.write(lambda c: deadlist.drop(c, letters))
        if dropped:
            _log.info("dead letters taken from the file", letters=letters)
        return dropped
