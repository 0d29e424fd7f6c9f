"""``manyhands reaggregate``: the answers of a result bundle, computed again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from manyhands_cli import show
from manyhands_cli.exits import Exit
from manyhands_cli.options import AsJson

if TYPE_CHECKING:
    from manyhands_aggregator.bundle.again import Compared
    from manyhands_aggregator.bundle.files import Bundle

#: Tasks that are named where answers of them were not computed.
NAMED = 20


def reaggregate(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A result bundle: `results JOB --bundle DIR`.", show_default=False)
    ],
    method: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Another method than the job's: of the job file, or of `aggregate`.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="Write the answers there, .csv or .jsonl. Default: reaggregated.csv in the bundle, or with a method "
            "reaggregated-NAME.csv.",
            show_default=False,
        ),
    ] = None,
    json_: AsJson = False,
) -> None:
    """Compute the answers of a result bundle again, from its judgments and nothing else; no service is needed.

    First every file is held against its digest in bundle.json; what was changed, is missing or was added is named, and
    the exit code is 1. Then it says whether the answers are those of the bundle, to the byte; the exit code is 1 where
    they are not, or where some could not be computed, which are named.

    With another method it says how many answers differ, and where the truth is known how many are right.

    Example: manyhands reaggregate digits

    Example: manyhands reaggregate digits --method weighted --out weighted.csv
    """
    from manyhands_aggregator import export
    from manyhands_aggregator.bundle.again import Compared, again
    from manyhands_aggregator.bundle.files import AGAIN, ANSWERS_CSV, ANSWERS_JSONL, Bundle, digest
    from manyhands_cli.files import write_whole

    file = out or folder / (f"{AGAIN}.csv" if method is None else f"{AGAIN}-{method}.csv")
    if file.suffix not in (".csv", ".jsonl"):
        raise typer.BadParameter(f"what {file.suffix or 'that'} should be is not known; name it .csv or .jsonl")
    bundle = Bundle.open(folder)
    if changed := bundle.changed():
        _changed(bundle, changed, json_)
        raise typer.Exit(Exit.SHORT)
    by, compared = method or str(bundle.manifest["method"]), Compared()
    blocks, _ = export.STREAMS[file.suffix.removeprefix(".")]
    write_whole(file, blocks(again(bundle, compared, method)))
    same = digest(file) == digest(folder / (ANSWERS_CSV if file.suffix == ".csv" else ANSWERS_JSONL))
    if json_:
        show.as_json(_said(bundle, by, compared, file, same))
    else:
        _say(bundle, by, compared, file, same)
    whole = same and not compared.taken
    raise typer.Exit(Exit.OK if whole or method is not None else Exit.SHORT)


def _changed(bundle: Bundle, changed: list[str], json_: bool) -> None:
    if json_:
        show.as_json({"bundle": str(bundle.folder), "identical": False, "changed": changed})
        return
    for sentence in changed:
        show.line(sentence)


def _said(bundle: Bundle, method: str, compared: Compared, file: Path, same: bool) -> dict[str, Any]:
    said: dict[str, Any] = {"bundle": str(bundle.folder), "identical": same, "changed": [], "method": method}
    said |= {"tasks": compared.tasks, "different": compared.different, "file": str(file)}
    if compared.taken:
        said["not_computed"] = compared.taken
    if compared.known:
        said |= {"accuracy": compared.right / compared.known, "accuracy_before": compared.was_right / compared.known}
    return said


def _say(bundle: Bundle, method: str, compared: Compared, file: Path, same: bool) -> None:
    if compared.taken:
        _taken(compared, same)
        return
    if same:
        show.line(f"identical: {compared.tasks:,} answers by {method}, in {file}")
        return
    own = method == bundle.manifest["method"]
    differ = f"{compared.different:,} of {compared.tasks:,} answers by {method} differ from the bundle's, in {file}"
    show.line(f"not identical: {differ}" if own else differ)
    if compared.known:
        was, now = compared.was_right / compared.known, compared.right / compared.known
        show.line(f"of {compared.known:,} tasks of known truth {now:.2%} are right; in the bundle {was:.2%}")
    if own:
        made = ", ".join(f"{name} {version}" for name, version in bundle.manifest["versions"].items())
        show.line(f"the bundle's are of {made}")


def _taken(compared: Compared, same: bool) -> None:
    from manyhands_aggregator.bundle.files import shown

    ids = compared.taken
    how = "identical, but" if same else "not identical, and"
    show.line(
        f"{how} {len(ids):,} of {compared.tasks:,} answers were taken from the bundle and not computed: the version "
        "that accepted them did not record what they rest on"
    )
    left = f" and {len(ids) - NAMED:,} others (--json names them all)" if len(ids) > NAMED else ""
    show.line(", ".join(map(shown, ids[:NAMED])) + left)
