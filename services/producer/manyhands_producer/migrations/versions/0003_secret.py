"""By what gold is placed in a job.

Revision ID: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the column; jobs that are there have none, and their gold stays where it is."""
    op.add_column("producer_jobs", sa.Column("secret", sa.LargeBinary))


def downgrade() -> None:
    """Drop it."""
    op.drop_column("producer_jobs", "secret")
