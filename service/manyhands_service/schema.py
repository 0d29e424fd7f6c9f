"""The version of a store's schema: bring it up to date, or see whether it will do as it is.

A revision is four digits. The first two are its generation: within one, a migration only adds, so that a program which
knows an earlier revision works on a later one. See ``docs/decisions/0011-schema-generations.md``.
"""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from manyhands.errors import ManyhandsError

#: Revisions of one generation.
GENERATION = 100

#: Alembic's ``context`` is one for the whole process, and several services may start in one.
_migrating = threading.Lock()


class SchemaDiffers(ManyhandsError):
    """The store's schema is not one that this version works with."""


@dataclass(frozen=True, slots=True)
class Change:
    """The revision that a store had (None: none yet) and the one that it has now."""

    before: str | None
    after: str


def wrong(found: str | None, known: str) -> str | None:
    """What keeps a program whose newest revision is ``known`` from a store at ``found``; None when nothing does."""
    if found is None:
        return f"the store is empty and must be at {known}; run `manyhands migrate`"
    if int(found) < int(known):
        return f"the store is at {found} and must be at {known}; run `manyhands migrate`"
    if int(found) // GENERATION > int(known) // GENERATION:
        return f"the store is at {found}, of a later generation than {known}; run the version that migrated it"
    return None


def migrate(engine: sa.Engine, package: str, service: str) -> Change:
    """Bring the store's schema up to the newest migration of ``package`` (its folder ``migrations``).

    One that is ahead, of the same generation, stays as it is. Replicas that start together take turns: PostgreSQL by an
    advisory lock, SQLite by its single writer.

    Raises:
        SchemaDiffers: it is of a later generation.
    """
    config, known = _known(package)
    config.attributes.update(service=service)
    with _migrating, engine.begin() as connection, contextlib.ExitStack() as held:
        if engine.dialect.name == "postgresql":
            from manyhands_service.postgres import unhurried

            held.enter_context(unhurried(connection))
            connection.execute(
                sa.text("select pg_advisory_xact_lock(hashtext(:name))"), {"name": f"manyhands-{service}"}
            )
        found = _found(connection, service)
        if found is not None and int(found) > int(known):
            if (said := wrong(found, known)) is not None:
                raise SchemaDiffers(said)
            return Change(found, found)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    return Change(found, known)


def check(connection: sa.Connection, package: str, service: str) -> None:
    """See that the store's schema will do; changes nothing.

    Raises:
        SchemaDiffers: it is missing, behind, or of a later generation.
    """
    _, known = _known(package)
    if (said := wrong(_found(connection, service), known)) is not None:
        raise SchemaDiffers(said)


def _known(package: str) -> tuple[Config, str]:
    config = Config()
    config.set_main_option("script_location", f"{package}:migrations")
    head = ScriptDirectory.from_config(config).get_current_head()
    assert head is not None, f"{package} has migrations"  # noqa: S101  each service ships its own
    return config, head


def _found(connection: sa.Connection, service: str) -> str | None:
    return MigrationContext.configure(connection, opts={"version_table": f"{service}_version"}).get_current_revision()
