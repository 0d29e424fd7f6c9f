"""What workers have shown in jobs that have ended.

Revision ID: 0008
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add table and column; jobs that have ended by now are left as they are, for measuring them all would take long.

    One that ends in a version before, beside this one, is measured by this one.
    """
    op.create_table(
        "aggregator_reputations",
        sa.Column("job", sa.Text, primary_key=True),
        sa.Column("worker", sa.Text, primary_key=True),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("judgments", sa.BigInteger, nullable=False),
        sa.Column("right", sa.Float, nullable=False),
        sa.Column("compared", sa.Float, nullable=False),
        sa.Column("ended", sa.Float, nullable=False),
    )
    op.create_index("aggregator_reputations_worker", "aggregator_reputations", ["worker"])
    op.add_column("aggregator_jobs", sa.Column("measured", sa.BigInteger))
    op.execute("UPDATE aggregator_jobs SET measured = judgments WHERE state <> 'open'")


def downgrade() -> None:
    """Drop them."""
    op.drop_column("aggregator_jobs", "measured")
    op.drop_table("aggregator_reputations")
