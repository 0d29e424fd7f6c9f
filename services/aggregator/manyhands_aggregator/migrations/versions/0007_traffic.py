"""What was asked of each judge of a job, and what came back.

Revision ID: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the column; of what an aggregator of the version before asks, it knows nothing."""
    op.add_column("aggregator_jobs", sa.Column("traffic", sa.Text))


def downgrade() -> None:
    """Drop it."""
    op.drop_column("aggregator_jobs", "traffic")
