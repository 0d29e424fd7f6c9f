"""The producer's tables. Migrations create them; this is how the code names them."""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData()

#: Values in one ``IN (...)``: stores have limits on parameters.
SOME = 500

#: A row a job. ``state`` is open, sealed, cancelled or ended; ``cursor`` where its source goes on, or a name of its
#: last push, as JSON; ``tasks``, ``refused`` and ``suites`` count what was cut. All suites below ``published`` are
#: confirmed, their events too; ``settled`` counts suites the aggregator is done with. ``announced`` and ``closed`` say
#: that job.opened, and job.sealed or job.cancelled, are confirmed. ``outcome`` is what job.completed said, as JSON.
#: ``anew`` counts how often it was asked to be published from its first unsettled suite on. ``secret`` says where its
#: gold is, and leaves the store in nothing but that; null in jobs from before there was one.
jobs = sa.Table(
    "producer_jobs",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("job", sa.Text, nullable=False, unique=True),
    sa.Column("spec", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("reason", sa.Text),
    sa.Column("opened", sa.Double, nullable=False),
    sa.Column("cursor", sa.Text),
    sa.Column("tasks", sa.BigInteger, nullable=False),
    sa.Column("refused", sa.BigInteger, nullable=False),
    sa.Column("suites", sa.BigInteger, nullable=False),
    sa.Column("published", sa.BigInteger, nullable=False),
    sa.Column("settled", sa.BigInteger, nullable=False),
    sa.Column("announced", sa.Boolean, nullable=False),
    sa.Column("closed", sa.Boolean, nullable=False),
    sa.Column("outcome", sa.Text),
    sa.Column("anew", sa.Integer, nullable=False, server_default="0"),
    sa.Column("secret", sa.LargeBinary),
)

#: A row a suite, from when it is cut to when it is settled. ``job`` is the job's number.
spool = sa.Table(
    "producer_spool",
    metadata,
    sa.Column("job", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("suite", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("first", sa.BigInteger, nullable=False),
    sa.Column("count", sa.Integer, nullable=False),
    sa.Column("size", sa.Integer, nullable=False),
    sa.Column("opened", sa.LargeBinary, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
)

#: The ids of the tasks of open jobs, where they have ids of their own: so that none comes twice.
ids = sa.Table(
    "producer_ids",
    metadata,
    sa.Column("job", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("id", sa.Text, primary_key=True),
    sqlite_with_rowid=False,
)
