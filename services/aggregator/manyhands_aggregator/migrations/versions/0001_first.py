"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def _total(name: str, kind: type[sa.Integer]) -> sa.Column[int]:
    return sa.Column(name, kind, nullable=False, server_default="0")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "aggregator_jobs",
        sa.Column("job", sa.Text, primary_key=True),
        sa.Column("spec", sa.Text),
        sa.Column("opened", sa.Float),
        sa.Column("overdue_at", sa.Float),
        sa.Column("ended", sa.Float),
        sa.Column("state", sa.Text, nullable=False, server_default="open"),
        sa.Column("reason", sa.Text),
        sa.Column("announced", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("sealed_tasks", sa.BigInteger),
        *(
            _total(name, sa.BigInteger)
            for name in ("tasks", "answered", "failed", "cancelled", "judgments", "gold", "gold_right")
        ),
        sa.Index("aggregator_jobs_announced", "announced"),
    )
    op.create_table(
        "aggregator_suites",
        sa.Column("job", sa.Text, primary_key=True),
        sa.Column("suite", sa.BigInteger, primary_key=True),
        sa.Column("first", sa.BigInteger, nullable=False),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("sent", sa.Integer, nullable=False),
        sa.Column("ids", sa.LargeBinary),
        sa.Column("truths", sa.LargeBinary),
        sa.Column("refused", sa.LargeBinary),
        sa.Column("answers", sa.LargeBinary),
        *(_total(name, sa.Integer) for name in ("answered", "failed", "gold", "gold_right")),
        sa.Index("aggregator_suites_first", "job", "first"),
    )
    op.create_table(
        "aggregator_judgments",
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
    op.create_table(
        "aggregator_early",
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
    op.create_table(
        "aggregator_dead",
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
    )


def downgrade() -> None:
    """Drop the tables."""
    for name in ("dead", "early", "judgments", "suites", "jobs"):
        op.drop_table(f"aggregator_{name}")
