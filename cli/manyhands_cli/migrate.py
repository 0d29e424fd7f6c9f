"""``manyhands migrate``: the stores' schema, brought up to date before the services start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from manyhands.errors import StoreUnavailable
from manyhands_cli import show
from manyhands_cli.options import AsJson, StoreUrl

if TYPE_CHECKING:
    from manyhands_service.schema import Change

#: The services with a store; the package of each has its migrations.
SERVICES = ("producer", "aggregator")


def migrate(
    service: Annotated[
        str | None,
        typer.Argument(metavar="[producer|aggregator]", help="Whose tables. Default: both.", show_default=False),
    ] = None,
    store: StoreUrl = None,
    json_: AsJson = False,
) -> None:
    """Bring the stores' schema up to date; the services then start with MANYHANDS_MIGRATE=false and wait for it.

    Running it again changes nothing, and several at once take turns. A schema that is ahead of this version stays as
    it is where this version works with it, and is refused where not.

    Example: manyhands migrate --store postgresql://user:password@db/manyhands
    """
    from manyhands import logs
    from manyhands.settings import StoreSettings, load

    if service is not None and service not in SERVICES:
        raise typer.BadParameter(f"{service!r}: it is {' or '.join(SERVICES)}, or nothing for both")
    url = load(StoreSettings, store=store).store.get_secret_value()
    logs.configure("migrate", level="error", format="text")
    changes = {name: _migrate(url, name) for name in SERVICES if service in (None, name)}
    if json_:
        show.as_json({name: {"before": change.before, "after": change.after} for name, change in changes.items()})
        return
    for name, change in changes.items():
        came = f"{'nothing' if change.before is None else change.before} to {change.after}"
        show.line(f"{name}: {f'was at {change.after}' if change.before == change.after else came}")


def _migrate(url: str, service: str) -> Change:
    from sqlalchemy.exc import SQLAlchemyError

    from manyhands_service import schema
    from manyhands_service.store import first_line, open_engine

    engine = open_engine(url, service)
    try:
        return schema.migrate(engine, f"manyhands_{service}", service)
    except SQLAlchemyError as error:
        raise StoreUnavailable(first_line(error)) from error
    finally:
        engine.dispose()
