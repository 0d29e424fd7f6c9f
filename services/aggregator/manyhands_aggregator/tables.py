"""The aggregator's tables. The suite is the unit of storage: a task costs no row of its own.

Transactions lock rows in one order, so that replicas never wait for each other in a circle: dead letters, suites (by
job and number), what is held, jobs; each in the order of its key. Reputations are written under the lock of their job.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

metadata = sa.MetaData()


def _total(name: str, kind: type[sa.Integer] = sa.BigInteger) -> sa.Column[int]:
    return sa.Column(name, kind, nullable=False, server_default="0")


#: A job. ``spec`` is null while only later news of it has come; ``sealed_tasks`` is null until it is sealed;
#: ``overdue_at`` is its deadline. The counters are sums over its suites, kept beside them so that progress costs one
#: row; once the job has ended by its deadline, ``failed`` counts the suites without answers too. ``announced``: its end
#: needs no telling by the clock. ``sent`` counts the tasks that went to the first stage, ``spent`` is what all that was
#: asked beyond it costs, and by how much judgments cost more than their price, in millionths. ``fit`` is ``due`` until
#: its answers have been gone over as a whole, then ``done``; null where nobody does so. ``traffic``: judgments that
#: were asked of each judge beyond the first ones, those that came, and the dearest, as JSON; null of jobs
#: opened by a version that did not count them. ``measured``: how many judgments there were when its workers were
#: measured at its end; null until then.
jobs = sa.Table(
    "aggregator_jobs",
    metadata,
    sa.Column("job", sa.Text, primary_key=True),
    sa.Column("spec", sa.Text),
    sa.Column("opened", sa.Float),
    sa.Column("overdue_at", sa.Float),
    sa.Column("ended", sa.Float),
    sa.Column("state", sa.Text, nullable=False, server_default="open"),
    sa.Column("reason", sa.Text),
    sa.Column("announced", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("sealed_tasks", sa.BigInteger),
    _total("tasks"),
    _total("answered"),
    _total("failed"),
    _total("cancelled"),
    _total("judgments"),
    _total("gold"),
    _total("gold_right"),
    _total("sent"),
    _total("spent"),
    sa.Column("fit", sa.Text),
    sa.Column("traffic", sa.Text),
    sa.Column("measured", sa.BigInteger),
    sa.Index("aggregator_jobs_announced", "announced"),  # what upkeep looks for is rarely there
)

#: A suite as the producer announced it and, once settled, its answers. ``sent`` counts its tasks that were not refused;
#: ``ids``, ``truths`` and ``refused`` are columns of their own because judgments need the last two only. ``course`` is
#: how far its tasks are in a plan that asks more than its first stage, and what was judged for nothing.
suites = sa.Table(
    "aggregator_suites",
    metadata,
    sa.Column("job", sa.Text, primary_key=True),
    sa.Column("suite", sa.BigInteger, primary_key=True),
    sa.Column("first", sa.BigInteger, nullable=False),
    sa.Column("count", sa.Integer, nullable=False),
    sa.Column("sent", sa.Integer, nullable=False),
    sa.Column("ids", sa.LargeBinary),
    sa.Column("truths", sa.LargeBinary),
    sa.Column("refused", sa.LargeBinary),
    sa.Column("answers", sa.LargeBinary),
    sa.Column("course", sa.LargeBinary),
    _total("answered", sa.Integer),
    _total("failed", sa.Integer),
    _total("gold", sa.Integer),
    _total("gold_right", sa.Integer),
    sa.Index("aggregator_suites_first", "job", "first"),  # where a page of answers begins
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

#: What the rules of a job say to a worker of it: the last action, null where there is none any more; why, and what was
#: measured then, as JSON. ``acted``: whom it concerns was told, and what rests on the worker is judged anew if need be.
workers = sa.Table(
    "aggregator_workers",
    metadata,
    sa.Column("job", sa.Text, primary_key=True),
    sa.Column("worker", sa.Text, primary_key=True),
    sa.Column("action", sa.Text),
    sa.Column("rated", sa.Float, nullable=False),
    sa.Column("reasons", sa.Text, nullable=False),
    sa.Column("measured", sa.Text, nullable=False),
    sa.Column("acted", sa.Boolean, nullable=False, server_default=sa.true()),
    sa.Index("aggregator_workers_acted", "acted"),  # what upkeep looks for is rarely there
)

#: What a worker has shown in a job that has ended: the ``type`` of its answers, how many judgments were looked at, and
#: of those that could be ``compared`` how many were ``right``. All of a job are written at once, and anew if more is
#: judged.
reputations = sa.Table(
    "aggregator_reputations",
    metadata,
    sa.Column("job", sa.Text, primary_key=True),
    sa.Column("worker", sa.Text, primary_key=True),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("judgments", sa.BigInteger, nullable=False),
    sa.Column("right", sa.Float, nullable=False),
    sa.Column("compared", sa.Float, nullable=False),
    sa.Column("ended", sa.Float, nullable=False),
    sa.Index("aggregator_reputations_worker", "worker"),  # in whose order they are told
)

#: Judgments that came before the news of their job or suite wait here a while; ``id`` is a digest of the message.
early = sa.Table(
    "aggregator_early",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("job", sa.Text, nullable=False),
    sa.Column("suite", sa.BigInteger, nullable=False),
    sa.Column("first_seen", sa.Float, nullable=False, index=True),
    sa.Column("queue", sa.Text, nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("encoding", sa.Text),
    sa.Column("body", sa.LargeBinary, nullable=False),
)

#: Dead letters, filed: ``id`` is a digest of what was set aside and why, ``times`` how often it came, so that one that
#: comes again while it is being replayed is not dropped with it. ``cause_id`` is what letters of one cause have in
#: common, ``version`` the handler's, ``filed`` when it came last, by our own clock. These are null where an earlier
#: version has filed it, until upkeep comes to it.
dead = sa.Table(
    "aggregator_dead",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("times", sa.Integer, nullable=False, server_default="1"),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("job", sa.Text, index=True),
    sa.Column("code", sa.Text, nullable=False),
    sa.Column("error", sa.Text, nullable=False),
    sa.Column("at", sa.Float, nullable=False, index=True),
    sa.Column("tasks", sa.Integer, nullable=False),
    sa.Column("cause", sa.Text, nullable=False),
    sa.Column("type", sa.Text),
    sa.Column("encoding", sa.Text),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("cause_id", sa.Text, index=True),
    sa.Column("version", sa.Text),
    sa.Column("filed", sa.Float, index=True),
)

#: What people have earned, in millionths of the currency: entries are added and never changed. ``number`` counts those
#: of one key from 0; suite, stage and slot are -1 in what concerns the job as a whole; ``first`` and ``last`` are the
#: positions that it was about, ``tasks`` and ``millis`` how many of them it pays for and what time they took.
ledger = sa.Table(
    "aggregator_ledger",
    metadata,
    sa.Column("job", sa.Text, primary_key=True),
    sa.Column("suite", sa.BigInteger, primary_key=True),
    sa.Column("stage", sa.Integer, primary_key=True),
    sa.Column("judge", sa.Text, primary_key=True),
    sa.Column("slot", sa.Integer, primary_key=True),
    sa.Column("worker", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("amount", sa.BigInteger, nullable=False),
    sa.Column("tasks", sa.Integer, nullable=False),
    sa.Column("millis", sa.BigInteger, nullable=False),
    sa.Column("first", sa.BigInteger),
    sa.Column("last", sa.BigInteger),
    sa.Column("at", sa.Float, nullable=False),
    sa.Index("aggregator_ledger_worker", "job", "worker"),
)


def insert(connection: sa.Connection, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
    """An insert that can say what to do ``on_conflict``."""
    return sqlite.insert(table) if connection.dialect.name == "sqlite" else postgresql.insert(table)


@cache
def _insert_new(dialect: str, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
    return (sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)).on_conflict_do_nothing()


def insert_new(connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows; those whose key is there already are left as they are."""
    if rows:
        connection.execute(_insert_new(connection.dialect.name, table), list(rows))
