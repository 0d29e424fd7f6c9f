"""Alembic's entry: brings the producer's tables up to date."""

from manyhands_producer.tables import metadata
from manyhands_service import migrations

migrations.run(metadata)
