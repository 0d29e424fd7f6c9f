"""The body of every service's Alembic ``env.py``: a version table of its own, so that services share a database."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context


def run(metadata: sa.MetaData) -> None:
    """Run the migrations on the connection that :func:`manyhands_service.schema.migrate` opened."""
    service = context.config.attributes["service"]
    context.configure(
        connection=context.config.attributes["connection"],
        target_metadata=metadata,
        version_table=f"{service}_version",
        transaction_per_migration=False,
        include_name=lambda name, kind, _parents: kind != "table" or (name or "").startswith(f"{service}_"),
    )
    with context.begin_transaction():
        context.run_migrations()
