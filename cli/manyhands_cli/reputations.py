"""What workers have shown in all jobs that have ended, as the aggregator has it, or a store that nobody works on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from manyhands.errors import ManyhandsError
from manyhands_cli import show

if TYPE_CHECKING:  # an HTTP library takes its time to import
    from manyhands_cli.client import Client

#: What answers may be.
Type: TypeAlias = Literal["choice", "choices", "number", "text", "json"]

PATH = "/api/reputations"
#: Columns of the table.
COLUMNS = ("worker", "type", "jobs", "judgments", "compared", "accuracy", "accuracy_low", "accuracy_high", "last")
#: Rows of the table, where nobody says how many.
SHOWN = 50
#: The judge whose workers are people.
PEOPLE = "people"


class NoReputation(ManyhandsError):
    """No job that has ended tells how good a judge is."""


def known(client: Client, *, type_: str | None = None, worker: str | None = None) -> list[dict[str, Any]]:
    """All that an aggregator knows, page by page: for one type of answers, of one worker."""
    which = {name: value for name, value in (("type", type_), ("worker", worker)) if value is not None}
    found: list[dict[str, Any]] = []
    after: str | None = ""
    while after is not None:
        said = client.call("GET", PATH, params={**which, "after": after})
        found += said["reputations"]
        after = said["next"]
    return found


def of_store(url: str, *, type_: str | None = None, worker: str | None = None) -> list[dict[str, Any]]:
    """The same out of a store.

    Raises:
        StoreUnavailable: there is no such store.
    """
    from manyhands_aggregator import reputations
    from manyhands_cli.bundle import opened

    with opened(url) as store:
        return reputations.of_store(store, type_=type_, worker=worker)


def forget(client: Client, worker: str) -> int:
    """Have the aggregator forget a worker; what it has shown in so many jobs."""
    return int(client.call("DELETE", PATH, params={"worker": worker})["jobs"])


def skill(client: Client, judge: str, type_: str) -> float:
    """The share of a judge's judgments that are right, by its reputation: of people their mean, by what each compared.

    Raises:
        NoReputation: it has none for answers of this type.
    """
    if judge == PEOPLE:
        rows = [row for row in known(client, type_=type_) if row["kind"] == "person"]
    else:
        rows = [row for row in known(client, type_=type_, worker=judge) if row["worker"] == judge]
    of: list[tuple[float, int]] = [(row["accuracy"], row["compared"]) for row in rows if row["compared"]]
    if not of:
        raise NoReputation(
            f"{judge} has none for answers of the type {type_}; `manyhands workers` lists those there are"
        )
    return sum(share * compared for share, compared in of) / sum(compared for _, compared in of)


def show_on(found: list[dict[str, Any]], limit: int | None, *, json_: bool) -> None:
    """Show them, those who are surely bad first: whose upper bound is lowest."""
    rows = sorted(found, key=lambda row: (row["accuracy_high"], row["worker"], row["type"]))
    shown = rows[: limit or (None if json_ else SHOWN)]
    if json_:
        show.as_json(shown)
    elif not rows:
        show.line("no reputations yet: they come with jobs that end")
    else:
        show.table(shown, COLUMNS)
        if len(shown) < len(rows):
            show.line(f"\nthe first {len(shown):,} of {len(rows):,}; --limit shows more")
