"""Which ratings were acted on.

Revision ID: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the column; an aggregator of the version before acts at once, and says nothing of it."""
    op.add_column("aggregator_workers", sa.Column("acted", sa.Boolean, nullable=False, server_default=sa.true()))
    op.create_index("aggregator_workers_acted", "aggregator_workers", ["acted"])


def downgrade() -> None:
    """Drop it."""
    op.drop_index("aggregator_workers_acted", "aggregator_workers")
    op.drop_column("aggregator_workers", "acted")
