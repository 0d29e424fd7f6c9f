"""How often a job was published anew.

Revision ID: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the column; a producer of the version before knows nothing of it, and needs not to."""
    op.add_column("producer_jobs", sa.Column("anew", sa.Integer, nullable=False, server_default="0"))


def downgrade() -> None:
    """Drop it."""
    op.drop_column("producer_jobs", "anew")
