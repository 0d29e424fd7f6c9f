"""The ``manyhands`` command: its sub-commands and their help."""

from __future__ import annotations

import sys

import typer

from manyhands import __version__, logs
from manyhands_cli import dead, local, processes, remote, topology
from manyhands_cli.exits import Exit, code_of, sentence

app = typer.Typer(
    name="manyhands",
    help="One big job into many small tasks, judged by code, models and people; one answer for every task.\n\n"
    "Start with: manyhands run examples/digits/job.yaml",
    no_args_is_help=True,
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


app.command()(local.run)
app.command()(local.plan)
app.command()(remote.submit)
app.command()(remote.status)
app.command()(remote.watch)
app.command()(remote.results)
app.command()(remote.cancel)
app.command()(remote.audit)
app.add_typer(dead.app, name="dead")
app.add_typer(topology.app, name="topology")
app.command()(processes.producer)
app.command()(processes.worker)
app.command()(processes.aggregator)


def main() -> None:
    """Run the command; every expected error is one sentence and an exit code."""
    logs.configure("cli", level="warning", format="text")
    try:
        app(standalone_mode=True)
    except KeyboardInterrupt:
        sys.exit(Exit.INTERRUPTED)
    except BrokenPipeError:
        sys.exit(Exit.OK)  # whoever read the output has seen enough
    except Exception as error:
        code = code_of(error)
        if code is None:
            raise
        sys.stderr.write(f"manyhands: {logs.mask(sentence(error))}\n")
        sys.exit(code)


if __name__ == "__main__":
    main()
