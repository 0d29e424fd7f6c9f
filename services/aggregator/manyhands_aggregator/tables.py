"""The aggregator's tables. The suite is the unit of storage: a task costs no row of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

metadata = sa.MetaData()

#: A job. ``spec`` is null while only later news of it has come; ``sealed_*`` are null until it is sealed. The counters
#: are sums over its suites, kept beside them so that progress costs one row. ``announced``:
#: the producer knows of its end.
jobs = sa.Table(
    "aggregator_jobs",
    metadata,
    sa.Column("job", sa.Text, primary_key=True),
    sa.Column("spec", sa.Text),
    sa.Column("opened", sa.Float),
    sa.Column("ended", sa.Float),
    sa.Column("state", sa.Text, nullable=False, server_default="open"),
    sa.Column("reason", sa.Text),
    sa.Column("announced", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("sealed_tasks", sa.BigInteger),
    sa.Column("tasks", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("answered", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("failed", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("cancelled", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("judgments", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("gold", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("gold_right", sa.BigInteger, nullable=False, server_default="0"),
)

#: A suite as the producer announced it (``about``: ids, truths, refused) and, once settled, its answers.
suites = sa.Table(
    "aggregator_suites",
    metadata,
    sa.Column("job", sa.Text, primary_key=True),
    sa.Column("suite", sa.BigInteger, primary_key=True),
    sa.Column("first", sa.BigInteger, nullable=False),
    sa.Column("count", sa.Integer, nullable=False),
    sa.Column("about", sa.LargeBinary),
    sa.Column("answers", sa.LargeBinary),
    sa.Column("answered", sa.Integer, nullable=False, server_default="0"),
    sa.Column("failed", sa.Integer, nullable=False, server_default="0"),
    sa.Column("gold", sa.Integer, nullable=False, server_default="0"),
    sa.Column("gold_right", sa.Integer, nullable=False, server_default="0"),
    sqlite_with_rowid=False,
)

#: What was kept of one message: a part of what a judge's slot said of a suite, in its wire form.
judgments = sa.Table(
    "aggregator_judgments",
    metadata,
    sa.Column("job", sa.Text, primary_key=True),
    sa.Column("suite", sa.BigInteger, primary_key=True),
    sa.Column("stage", sa.Integer, primary_key=True),
    sa.Column("judge", sa.Text, primary_key=True),
    sa.Column("slot", sa.Integer, primary_key=True),
    sa.Column("part", sa.Integer, primary_key=True),
    sa.Column("count", sa.Integer, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("encoding", sa.Text),
)

#: Judgments that came before the news of their job or suite; they wait here a while.
early = sa.Table(
    "aggregator_early",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("first_seen", sa.Float, nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("encoding", sa.Text),
    sa.Column("body", sa.LargeBinary, nullable=False),
)

#: Dead letters, filed: ``id`` is a digest of the letter, so that one that comes twice is filed once.
dead = sa.Table(
    "aggregator_dead",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("job", sa.Text, index=True),
    sa.Column("code", sa.Text, nullable=False),
    sa.Column("error", sa.Text, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("tasks", sa.Integer, nullable=False),
    sa.Column("cause", sa.Text, nullable=False),
    sa.Column("type", sa.Text),
    sa.Column("encoding", sa.Text),
    sa.Column("body", sa.LargeBinary, nullable=False),
)


def insert_new(connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows; those whose key is there already are left as they are."""
    if rows:
        insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
        connection.execute(insert(table).on_conflict_do_nothing(), list(rows))
