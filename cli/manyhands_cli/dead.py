"""``manyhands dead``: what was set aside."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from manyhands_cli import show
from manyhands_cli.options import AGGREGATOR, AggregatorUrl, AsJson, Ca, Token, aggregator_client, complete_job

app = typer.Typer(
    no_args_is_help=True,
    help="Dead letters: tasks and messages set aside with their cause.\n\n"
    "Find the cause with list and show, mend it, then replay; or drop what is of no use.",
)

Letter = Annotated[str, typer.Argument(metavar="LETTER", help="The letter's id, from `dead list`.", show_default=False)]
Letters = Annotated[
    list[str] | None, typer.Argument(metavar="LETTER", help="Ids from `dead list`.", show_default=False)
]
OfJob = Annotated[
    str | None,
    typer.Option("--job", help="Only those of this job.", show_default=False, autocompletion=complete_job),
]
OfCode = Annotated[
    str | None, typer.Option("--code", help="Only those of this cause, such as time-limit.", show_default=False)
]


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
    ca: Ca = None,
) -> None:
    """Count dead letters by cause, and list the newest.

    Example: manyhands dead list --job digits-1f00ba11
    """
    said = aggregator_client(url, token, ca).call("GET", "/api/dead", params={**_choice(job, code), "limit": limit})
    if json_:
        show.as_json(said)
    elif not said["letters"]:
        show.line("no dead letters")
    else:
        show.table(said["groups"], ("kind", "code", "letters", "tasks"))
        show.line("")
        show.table(said["letters"], ("id", "at", "kind", "code", "job", "tasks", "error"))


@app.command("show")
def show_(
    letter: Letter, json_: AsJson = False, url: AggregatorUrl = AGGREGATOR, token: Token = None, ca: Ca = None
) -> None:
    """Print one dead letter whole: cause, traceback, handler version, history, tasks.

    Of a task that killed its process also the signal or status that this ended with, and the most memory that it held.

    It is JSON, indented for people unless --json is given.

    Example: manyhands dead show 5f1d2c3b4a596877
    """
    show.as_json(aggregator_client(url, token, ca).call("GET", f"/api/dead/{letter}"), indent=None if json_ else 2)


@app.command()
def replay(
    letters: Letters = None,
    job: OfJob = None,
    code: OfCode = None,
    everything: Annotated[bool, typer.Option("--all", help="All there are.")] = False,
    json_: AsJson = False,
    url: AggregatorUrl = AGGREGATOR,
    token: Token = None,
    ca: Ca = None,
) -> None:
    """Send dead letters out again: some, those of a job or cause, or all.

    Their tasks are judged anew and still count, once: a job that ended partial becomes complete.

    Example: manyhands dead replay --job digits-1f00ba11 --code time-limit
    """
    if letters and (job or code or everything):
        raise typer.BadParameter("name letters, or give --job, --code or --all; not both")
    if not (letters or job or code or everything):
        raise typer.BadParameter("name letters, or give --job, --code or --all")
    client = aggregator_client(url, token, ca)
    if letters:
        count = sum(client.call("POST", f"/api/dead/{letter}/replay")["letters"] for letter in letters)
    else:
        count = client.call("POST", "/api/dead/replay", params=_choice(job, code))["letters"]
    _counted(count, "replayed", json_)


@app.command()
def drop(
    letters: Annotated[list[str], typer.Argument(metavar="LETTER", help="Ids from `dead list`.", show_default=False)],
    json_: AsJson = False,
    url: AggregatorUrl = AGGREGATOR,
    token: Token = None,
    ca: Ca = None,
) -> None:
    """Take dead letters from the file for good. Their tasks stay failed.

    Example: manyhands dead drop 5f1d2c3b4a596877
    """
    client = aggregator_client(url, token, ca)
    _counted(sum(client.call("DELETE", f"/api/dead/{letter}")["letters"] for letter in letters), "dropped", json_)


def _counted(count: int, done: str, json_: bool) -> None:
    if json_:
        show.as_json({"letters": count})
    else:
        show.line(f"{count:,} {done}")
