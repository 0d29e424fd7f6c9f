"""The ``manyhands`` command: its sub-commands and their help."""

from __future__ import annotations

import os
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from manyhands import __version__
from manyhands_cli import (
    aggregate,
    dead,
    migrate,
    plan,
    processes,
    reaggregate,
    remote,
    replay,
    results,
    run,
    submit,
    topology,
    watch,
    workers,
)
from manyhands_cli.exits import Exit, code_of, sentence


class Commands(TyperGroup):
    """Runs a command; every error that is to be expected is one sentence and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that the context names."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # whoever read the output has seen enough; what is still buffered has nowhere to go
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(Exit.OK) from None
        except Exception as error:
            code = code_of(error)
            if code is None:
                raise
            from manyhands.logs import mask
            from manyhands_cli.show import printable

            sys.stderr.write(f"manyhands: {printable(mask(sentence(error)))}\n")
            raise typer.Exit(code) from error


app = typer.Typer(
    name="manyhands",
    cls=Commands,
    help="One big job into many small tasks, judged by code, models and people; one answer for every task.\n\n"
    "On one machine: manyhands run examples/digits/job.yaml\n\n"
    "With services running: manyhands submit JOB.yaml, then watch, results, audit.",
    epilog="Exit codes and every option: docs/cli.md. Tab completion: manyhands --install-completion",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    _version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    pass


HERE, RUNNING, PROCESSES = "On this machine", "With services running", "Services and what they stand on"

app.command(rich_help_panel=HERE)(run.run)
app.command(rich_help_panel=HERE)(plan.plan)
app.command(rich_help_panel=HERE)(aggregate.aggregate)
app.command(rich_help_panel=HERE)(reaggregate.reaggregate)
app.command(rich_help_panel=HERE)(replay.replay)
app.command(rich_help_panel=RUNNING)(submit.submit)
app.command(rich_help_panel=RUNNING)(remote.status)
app.command(rich_help_panel=RUNNING)(watch.watch)
app.command(rich_help_panel=RUNNING)(results.results)
app.command(rich_help_panel=RUNNING)(remote.agreement)
app.command(rich_help_panel=RUNNING)(workers.workers)
app.command(rich_help_panel=RUNNING)(remote.rewards)
app.command(rich_help_panel=RUNNING)(remote.cancel)
app.command(rich_help_panel=RUNNING)(remote.audit)
app.command(rich_help_panel=RUNNING)(remote.republish)
app.add_typer(dead.app, name="dead", rich_help_panel=RUNNING)
app.command(rich_help_panel=PROCESSES)(processes.producer)
app.command(rich_help_panel=PROCESSES)(processes.worker)
app.command(rich_help_panel=PROCESSES)(processes.aggregator)
app.command(rich_help_panel=PROCESSES)(migrate.migrate)
app.add_typer(topology.app, name="topology", rich_help_panel=PROCESSES)


def main() -> None:
    """The console script."""
    app(prog_name="manyhands")


if __name__ == "__main__":
    main()
