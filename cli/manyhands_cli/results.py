"""``manyhands results``: a job's answers, or all that they rest on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import typer

from manyhands_cli import show
from manyhands_cli.options import AGGREGATOR, AggregatorUrl, Ca, JobIdOrFolder, Token, aggregator_client
from manyhands_cli.paths import of_job
from manyhands_cli.source import Source, source_of

Format = Literal["csv", "jsonl", "parquet"]


def results(
    job: JobIdOrFolder,
    format_: Annotated[
        Format | None,
        typer.Option("--format", "-f", help="Default: by the ending of --out, else csv.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="Write there. Default: standard output.", show_default=False),
    ] = None,
    bundle: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write the result bundle into this folder: answers, judgments, workers, and report.html.",
            show_default=False,
        ),
    ] = None,
    plan: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="What `plan -o` foretold: how right it was goes to standard error; with --bundle, into the report.",
            show_default=False,
        ),
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="The tasks without an answer, and why (CSV).")] = False,
    aggregator: AggregatorUrl = AGGREGATOR,
    token: Token = None,
    ca: Ca = None,
) -> None:
    """Fetch a job's answers in source order: id, answer, confidence, judgments.

    Of a job that is still open come the answers there are.

    With --bundle everything that the answers of an ended job rest on goes into a folder, with a report for people;
    `manyhands reaggregate` computes the answers again from it.

    Example: manyhands results digits-1f00ba11 --out answers.parquet

    Example: manyhands results out/digits --bundle digits
    """
    if bundle is not None:
        if format_ or out or failed:
            raise typer.BadParameter("--bundle is a whole folder; leave out --format, --out and --failed")
        _bundle(job, bundle, plan, aggregator, token, ca)
        return
    ending = out.suffix.removeprefix(".") if out else ""
    if ending and format_ is None and ending not in get_args(Format):
        raise typer.BadParameter(
            f"what .{ending} should be is not known; name it .csv, .jsonl or .parquet, or give --format"
        )
    kind = format_ or ending or "csv"
    if failed and kind != "csv":
        raise typer.BadParameter("--failed is CSV; choose no other format")
    if kind == "parquet" and out is None and typer.get_binary_stream("stdout").isatty():
        raise typer.BadParameter("Parquet is no text; give --out FILE")
    with source_of(job, aggregator, token, ca) as (source, name):
        _stream(source, name, out, plan, "/failed.csv" if failed else f"/answers.{kind}")


def _stream(source: Source, job: str, out: Path | None, plan: Path | None, file: str) -> None:
    said = source.call("GET", of_job(job))
    if said["state"] == "open":
        show.notes().print(
            f"{job} is still open: {said['answered']:,} of {said['tasks']:,} tasks have an answer so far"
        )
    elif said.get("due"):
        show.notes().print(f"the answers of {job} are still to be gone over as a whole: they may change")
    if plan is not None:
        from manyhands.spec import received
        from manyhands_cli import planned

        spec = received(source.call("GET", of_job(job, "/record"))["job_file"])
        foretold = planned.fitting(planned.read(plan), spec)
        planned.show_on(planned.of_job(source, job, foretold), show.notes())
    blocks = source.stream(of_job(job, file))
    if out is not None:
        from manyhands_cli.files import write_whole

        write_whole(out, blocks)
        return
    stream = typer.get_binary_stream("stdout")
    for block in blocks:
        stream.write(block)
    stream.flush()


def _bundle(job: str, folder: Path, plan: Path | None, aggregator: str, token: str | None, ca: Path | None) -> None:
    from manyhands.spec import received
    from manyhands_cli import bundle, planned
    from manyhands_cli.folder import Folder

    foretold = None if plan is None else planned.read(plan)

    def write(recorded: bundle.Recorded) -> dict[str, Any]:
        if foretold is not None:
            planned.fitting(foretold, received(recorded.facts()["job_file"]))
        return bundle.write(recorded, folder, foretold)

    run = Folder(Path(job))
    if run.job is not None:
        with bundle.of_store(run.store, run.job) as recorded:
            manifest = write(recorded)
    else:
        manifest = write(bundle.OverApi(aggregator_client(aggregator, token, ca), job))
    show.line(
        f"{manifest['tasks']:,} tasks and {manifest['judgments']:,} judgments; begin with {folder / 'report.html'}"
    )
