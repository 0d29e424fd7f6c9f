"""What dead letters have in common, and when they were filed.

Revision ID: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the columns; letters that an aggregator of the version before files are given them later."""
    op.add_column("aggregator_dead", sa.Column("cause_id", sa.Text))
    op.add_column("aggregator_dead", sa.Column("version", sa.Text))
    op.add_column("aggregator_dead", sa.Column("filed", sa.Float))
    op.create_index("ix_aggregator_dead_filed", "aggregator_dead", ["filed"])
    op.create_index("ix_aggregator_dead_cause_id", "aggregator_dead", ["cause_id"])


def downgrade() -> None:
    """Drop them."""
    op.drop_index("ix_aggregator_dead_cause_id", "aggregator_dead")
    op.drop_index("ix_aggregator_dead_filed", "aggregator_dead")
    op.drop_column("aggregator_dead", "filed")
    op.drop_column("aggregator_dead", "version")
    op.drop_column("aggregator_dead", "cause_id")
