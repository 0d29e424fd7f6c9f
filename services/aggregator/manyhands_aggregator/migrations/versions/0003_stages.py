"""How far tasks are in a plan of several stages, what that costs, and whether a job's answers were gone over.

Revision ID: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the columns; jobs and suites that are there have one stage, of which nothing need be noted."""
    op.add_column("aggregator_suites", sa.Column("course", sa.LargeBinary))
    op.add_column("aggregator_jobs", sa.Column("sent", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("aggregator_jobs", sa.Column("spent", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("aggregator_jobs", sa.Column("fit", sa.Text))


def downgrade() -> None:
    """Drop them."""
    for name in ("fit", "spent", "sent"):
        op.drop_column("aggregator_jobs", name)
    op.drop_column("aggregator_suites", "course")
