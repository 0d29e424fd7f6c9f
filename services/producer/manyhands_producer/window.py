"""A job's window: how many of its suites may be out at once, and which are taken out of the spool next."""

from __future__ import annotations

from manyhands.clock import Clock
from manyhands_producer.board import Board, Live
from manyhands_producer.spool import Spooled
from manyhands_producer.store import ProducerStore

#: Bytes of suites read from the spool at once for one job.
LOAD_BYTES = 8 << 20


class Window:
    """Takes suites out of the spool for the publisher's thread, while others may settle them."""

    def __init__(self, store: ProducerStore, board: Board, clock: Clock) -> None:
        self._store, self._board, self._clock = store, board, clock

    def room(self, live: Live) -> int:
        """How many suites the job may publish now; of one that is over only the news is told, and it needs no room."""
        if live.over:
            return live.ahead
        most = max(1, LOAD_BYTES // max(live.largest, 1))
        return min(live.ahead, live.spec.in_flight - len(live.unsettled), most)

    def take(self, live: Live, most: int) -> list[Spooled]:
        """The next suites out of the spool; they take up the job's window from now on.

        Raises:
            StoreUnavailable: none is taken.
        """
        with self._board.changed:
            first, until, bodies = live.next, live.suites, not live.over
            live.early = set()
        try:
            found = self._store.waiting(live.number, first, most, bodies=bodies)
        except BaseException:
            with self._board.changed:
                live.early = None
            raise
        with self._board.changed:
            early, live.early = live.early or set(), None
            suites = [s for s in found if s.suite not in early]
            # suites that were settled before they were published again are gone from the spool
            live.next = max(first, found[-1].suite + 1 if found else until)
            live.waiting = max(0, live.waiting - sum(s.size for s in found)) if live.ahead else 0
            if not live.over:
                live.unsettled |= dict.fromkeys((s.suite for s in suites), self._clock.monotonic())
        return suites
