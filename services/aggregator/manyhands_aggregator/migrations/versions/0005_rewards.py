"""What people have earned.

Revision ID: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the ledger."""
    op.create_table(
        "aggregator_ledger",
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
    )
    op.create_index("aggregator_ledger_worker", "aggregator_ledger", ["job", "worker"])


def downgrade() -> None:
    """Drop it."""
    op.drop_table("aggregator_ledger")
