"""``manyhands dead``: what was set aside."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from manyhands_cli import show
from manyhands_cli.exits import Exit
from manyhands_cli.options import AGGREGATOR, AggregatorUrl, AsJson, Ca, Token, aggregator_client, complete_job

#: Letters that are named of those that could not be sent.
SOME = 10

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
    str | None, typer.Option("--code", help="Only those of this code, such as time-limit.", show_default=False)
]
OfCause = Annotated[
    str | None, typer.Option("--cause", help="Only those of this cause, from `dead list`.", show_default=False)
]
Everything = Annotated[bool, typer.Option("--all", help="All there are.")]


def _choice(job: str | None, code: str | None, cause: str | None) -> dict[str, Any]:
    said = {"job": job, "code": code, "cause": cause}
    return {key: value for key, value in said.items() if value is not None}


def _chosen(letters: list[str] | None, choice: dict[str, Any], everything: bool) -> None:
    if letters and (choice or everything):
        raise typer.BadParameter("name letters, or give --job, --code, --cause or --all; not both")
    if not (letters or choice or everything):
        raise typer.BadParameter("name letters, or give --job, --code, --cause or --all")


@app.command("list")
def list_(
    job: OfJob = None,
    code: OfCode = None,
    cause: OfCause = None,
    limit: Annotated[int, typer.Option(help="The most to list.")] = 50,
    json_: AsJson = False,
    url: AggregatorUrl = AGGREGATOR,
    token: Token = None,
    ca: Ca = None,
) -> None:
    """Count dead letters by cause, and list the newest.

    Letters have one cause whose errors differ in numbers, ids and quoted text only. Of each there are the letters and
    tasks, when the first and the last were set aside, the versions of the handler that failed, and one for an example:
    `dead show` has its payload and traceback.

    Example: manyhands dead list --job digits-1f00ba11
    """
    params = {**_choice(job, code, cause), "limit": limit}
    said = aggregator_client(url, token, ca).call("GET", "/api/dead", params=params)
    if json_:
        show.as_json(said)
    elif not said["letters"]:
        show.line("no dead letters")
    else:
        groups = [{**group, "versions": ", ".join(group["versions"]) or None} for group in said["groups"]]
        show.table(groups, ("cause", "code", "letters", "tasks", "first", "last", "versions", "example", "error"))
        show.line("")
        show.table(said["letters"], ("id", "cause", "at", "kind", "code", "job", "tasks", "version", "error"))


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
    cause: OfCause = None,
    everything: Everything = False,
    changed: Annotated[
        bool,
        typer.Option(
            "--changed",
            help="Only for a version of the handler that the letter did not fail with: workers of that "
            "one hand it on, for a day.",
        ),
    ] = False,
    version: Annotated[
        str | None, typer.Option(metavar="VERSION", help="Only for this version of the handler.", show_default=False)
    ] = None,
    json_: AsJson = False,
    url: AggregatorUrl = AGGREGATOR,
    token: Token = None,
    ca: Ca = None,
) -> None:
    """Send dead letters out again: some, those of a job, code or cause, or all.

    Their tasks are judged anew and still count, once: a job that ended partial becomes complete. Whichever worker comes
    first judges them, whatever its version, unless --changed or --version is given.

    A letter that cannot be sent stays on file, and costs no other; then the exit code is 1.

    Example: manyhands dead replay --job digits-1f00ba11 --cause 3fa94c01 --changed
    """  # fmt: skip
    choice = _choice(job, code, cause)
    _chosen(letters, choice, everything)
    client = aggregator_client(url, token, ca)
    versions = ({"changed": True} if changed else {}) | ({"version": version} if version else {})
    paths = [f"/api/dead/{letter}/replay" for letter in letters] if letters else ["/api/dead/replay"]
    said = [client.call("POST", path, params=choice | versions) for path in paths]
    refused = [some for one in said if (some := one.get("refused"))]  # earlier aggregators do not say
    count, left = sum(one["letters"] for one in said), sum(some["letters"] for some in refused)
    errors = [error for some in refused for error in some["errors"]]
    if json_:
        show.as_json({"letters": count} | ({"refused": {"letters": left, "errors": errors}} if left else {}))
    else:
        _counted(count, "replayed", json_)
    if left:
        whose = show.printable("; ".join(f"{error['letter']}: {error['error']}" for error in errors[:SOME]))
        more = f"; and {left - SOME:,} more" if left > SOME else ""
        show.notes().print(f"{left:,} could not be sent and stay on file: {whose}{more}")
        raise typer.Exit(Exit.SHORT)


@app.command()
def drop(
    letters: Letters = None,
    job: OfJob = None,
    code: OfCode = None,
    cause: OfCause = None,
    everything: Everything = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    json_: AsJson = False,
    url: AggregatorUrl = AGGREGATOR,
    token: Token = None,
    ca: Ca = None,
) -> None:
    """Take dead letters from the file for good: some, those of a job, code or cause, or all. Their tasks stay failed.

    More than named letters are counted and asked about first.

    Example: manyhands dead drop --cause 3fa94c01
    """
    choice = _choice(job, code, cause)
    _chosen(letters, choice, everything)
    client = aggregator_client(url, token, ca)
    if letters:
        _counted(sum(client.call("DELETE", f"/api/dead/{letter}")["letters"] for letter in letters), "dropped", json_)
        return
    groups = client.call("GET", "/api/dead", params={**choice, "limit": 1})["groups"]
    if not groups:
        _counted(0, "dropped", json_)
        return
    if not yes:
        _confirm(groups)
    # what comes between the question and the answer was not asked about
    until = {"until": max(group["filed"] for group in groups)}
    said = client.call("DELETE", "/api/dead", params={**choice, **until, "all": everything})
    _counted(said["letters"], "dropped", json_)


def _confirm(groups: list[dict[str, Any]]) -> None:
    if not sys.stdin.isatty():
        raise typer.BadParameter("nobody is there to be asked; give --yes")
    letters, tasks = (sum(group[key] for group in groups) for key in ("letters", "tasks"))
    show.notes().print(f"{letters:,} letters with {tasks:,} tasks, of {len(groups):,} causes")
    typer.confirm("Drop them for good?", abort=True, err=True)


def _counted(count: int, done: str, json_: bool) -> None:
    if json_:
        show.as_json({"letters": count})
    else:
        show.line(f"{count:,} {done}")
