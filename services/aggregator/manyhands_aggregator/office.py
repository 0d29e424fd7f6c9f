"""The dead-letter office: what the API and the command line ask about letters on file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace as with_
from typing import Any

import sqlalchemy as sa

from manyhands import logs
from manyhands.broker import Outgoing, Publisher
from manyhands.clock import Clock
from manyhands.errors import BrokerUnavailable
from manyhands.topology import Names
from manyhands_aggregator import deadlist, replay
from manyhands_aggregator.confirms import publish_all
from manyhands_aggregator.deadlist import ALL, Which
from manyhands_aggregator.replay import ANY, Versions
from manyhands_service.store import Store

_log = logs.get(__name__)

#: Dead letters that are replayed or dropped in one go.
LETTERS = 50


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

    def replay(self, letter: str, versions: Versions = ANY) -> int:
        """Send a dead letter out again, confirm, and only then take it from the file.

        Raises:
            NoSuchLetter: it is not there.
            BrokerUnavailable: it is still on file; it may have been sent, which does no harm.
        """
        if not self._replay([letter], versions):
            raise deadlist.no_such(letter)
        return 1

    def replay_all(self, which: Which = ALL, versions: Versions = ANY) -> int:
        """The same for all these letters that there are now; how many were sent.

        Raises:
            BrokerUnavailable: some are still on file.
        """
        return sum(self._replay(some, versions) for some in self._pages(which))

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

    def _replay(self, letters: list[str], versions: Versions) -> int:
        publisher = self._publisher()
        if publisher is None or not publisher.ready:  # a publisher that is blocked would keep us waiting
            raise BrokerUnavailable("the letters stay on file; try again when the aggregator is ready")
        now = self._clock.now()

        def messages(connection: sa.Connection) -> dict[str, tuple[Outgoing, int]]:
            found = {x: replay.outgoing(connection, self._names, x, now, versions) for x in letters}
            # who is gone was replayed or dropped by somebody else meanwhile
            return {x: message for x, message in found.items() if message is not None}

        found = self._store.read(messages)
        publish_all(publisher, [message for message, _ in found.values()])
        self._store.write(lambda c: replay.drop(c, {letter: times for letter, (_, times) in found.items()}))
        if found:
            _log.info("dead letters replayed", letters=list(found))
        return len(found)

    def _drop(self, letters: list[str]) -> int:
        dropped = self._store.write(lambda c: deadlist.drop(c, letters))
        if dropped:
            _log.info("dead letters taken from the file", letters=letters)
        return dropped
