"""``manyhands dead``: what was set aside."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from manyhands_cli import show
from manyhands_cli.options import AGGREGATOR, AggregatorUrl, AsJson, Token, aggregator_client

app = typer.Typer(no_args_is_help=True, help="Dead letters: tasks and messages set aside with their cause.")

Letter = Annotated[str, typer.Argument(metavar="LETTER", help="The letter's id, from `dead list`.", show_default=False)]
Letters = Annotated[
    list[str] | None, typer.Argument(metavar="[LETTER]...", help="Ids from `dead list`.", show_default=False)
]
OfJob = Annotated[str | None, typer.Option("--job", help="Only those of this job.", show_default=False)]
OfCode = Annotated[str | None, typer.Option("--code", help="Only those with this cause.", show_default=False)]


def _choice(job: str | None, code: str | None) -> dict[str, Any]:
    return {key: value for key, value in (("job", job), ("code", code)) if value is not None}


@app.command("list")
def list_(
    job: OfJob = None,
    code: OfCode = None,
    limit: Annotated[int, typer.Option(help="The most to list.")] = 50,
    json_: AsJson = False,
    url: AggregatorUrl = AGGREGATOR,
    token: Token = None,
) -> None:
    """Count dead letters by cause, and list the newest."""
    said = aggregator_client(url, token).call("GET", "/api/dead", params={**_choice(job, code), "limit": limit})
    if json_:
        show.as_json(said)
    elif not said["letters"]:
        show.OUT.print("no dead letters")
    else:
        show.table(said["groups"], ("kind", "code", "letters", "tasks"))
        show.OUT.print()
        show.table(said["letters"], ("id", "kind", "code", "job", "tasks", "error"))


@app.command("show")
def show_(letter: Letter, url: AggregatorUrl = AGGREGATOR, token: Token = None) -> None:
    """Print one dead letter whole as JSON: cause, traceback, handler version, history, tasks."""
    show.as_json(aggregator_client(url, token).call("GET", f"/api/dead/{letter}"))


@app.command()
def replay(
    letters: Letters = None,
    job: OfJob = None,
    code: OfCode = None,
    everything: Annotated[bool, typer.Option("--all", help="All there are.")] = False,
    url: AggregatorUrl = AGGREGATOR,
    token: Token = None,
) -> None:
    """Send dead letters out again: some, those of a job or cause, or all. Their answers still count, once."""
    client = aggregator_client(url, token)
    if letters:
        count = sum(client.call("POST", f"/api/dead/{letter}/replay")["letters"] for letter in letters)
    elif job or code or everything:
        count = client.call("POST", "/api/dead/replay", params=_choice(job, code))["letters"]
    else:
        raise typer.BadParameter("name letters, or give --job, --code or --all")
    show.OUT.print(f"{count} replayed")


@app.command()
def drop(
    letters: Annotated[list[str], typer.Argument(metavar="LETTER...", help="Ids from `dead list`.")],
    url: AggregatorUrl = AGGREGATOR,
    token: Token = None,
) -> None:
    """Take dead letters from the file for good. Their tasks stay failed."""
    client = aggregator_client(url, token)
    count = sum(client.call("DELETE", f"/api/dead/{letter}")["letters"] for letter in letters)
    show.OUT.print(f"{count} dropped")
