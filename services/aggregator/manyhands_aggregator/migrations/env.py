"""Run by Alembic."""

from manyhands_aggregator.tables import metadata
from manyhands_service.migrations import run

run(metadata)
