"""Ids that come twice in a source, found in bounded memory."""

from __future__ import annotations

import json
import sqlite3

from manyhands_producer.sources import Rows

#: Ids looked up in one statement.
SOME = 500


class Seen:
    """The ids that came before. They lie in a temporary file of SQLite's, which goes when it is closed."""

    def __init__(self) -> None:
        self._base = sqlite3.connect("", isolation_level=None)
        self._base.execute("create table seen (id text primary key) without rowid")

    def note(self, rows: Rows) -> None:
        """Note the ids of these rows; those that come again are refused, as the producer refuses them."""
        ids = rows.own_ids()
        self._base.execute("begin")
        if self._add(ids) != len(ids):
            self._base.execute("rollback")
            rows.refuse_repeated(self._known(ids))
            self._base.execute("begin")
            self._add(rows.own_ids())
        self._base.execute("commit")

    def _add(self, ids: list[str]) -> int:
        text = json.dumps(sorted(ids))
        return self._base.execute("insert or ignore into seen select value from json_each(?)", (text,)).rowcount

    def _known(self, ids: list[str]) -> set[str]:
        found: set[str] = set()
        for start in range(0, len(ids), SOME):
            some = json.dumps(ids[start : start + SOME])
            query = "select id from seen where id in (select value from json_each(?))"
            found.update(own for (own,) in self._base.execute(query, (some,)))
        return found

    def close(self) -> None:
        """Forget them."""
        self._base.close()
