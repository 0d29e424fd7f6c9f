"""``manyhands aggregate``: answers from a CSV file of judgments, without any service."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from manyhands_cli import show
from manyhands_cli.options import AsJson
from manyhands_cli.typed import Typed, number_or_why

if TYPE_CHECKING:  # numpy takes its time to import
    from manyhands_aggregator.truth.ballots import Ints
    from manyhands_aggregator.truth.inferred import Inferred
    from manyhands_cli.crowdfiles import Judged

#: What the help names without importing them; the last is the default.
METHODS = (
    "majority", "wawa", "zero-based-skill", "one-coin", "dawid-skene", "ibcc", "glad", "mace", "bwa", "pooled", "blend",
)  # fmt: skip
#: What is said of a method in JSON; people are shown more.
KEYS = ("method", "accuracy", "seconds", "tasks", "workers", "judgments")
#: Rows that are written in one go.
BLOCK = 10_000
#: Numbers are taken for measurements if more than so many differ; or at least so few, and they seldom come twice.
MANY, FEW = 50, 5


def aggregate(
    answers: Annotated[
        Path,
        typer.Argument(
            metavar="ANSWERS.csv",
            help="Judgments: a CSV file with the columns task,worker,label; - is standard input.",
            show_default=False,
        ),
    ],
    method: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help=f"How: {', '.join(METHODS)}; or all, to compare them. docs/truth.md says which is good when.",
            show_default=METHODS[-1],
            autocompletion=lambda: [*METHODS, "all"],
        ),
    ] = None,
    type_: Annotated[
        Typed,
        typer.Option(
            "--type",
            help="What labels are. choices: several, a|b; pairwise: the better item of the columns left and right.",
        ),
    ] = "choice",
    truth: Annotated[
        Path | None,
        typer.Option(
            metavar="TRUTH.csv",
            help="Truths, to count how many answers are right: a CSV file with the columns task,label.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", metavar="OUT.csv", help="Write the answers here: task,label,confidence.", show_default=False
        ),
    ] = None,
    json_: AsJson = False,
) -> None:
    """Turn a file of judgments into one answer for every task, and say how right the answers are.

    Rows that cannot be used are named and left out; of several judgments of one task by one worker the first counts.
    Other columns do not matter. Without -o no answers are written, without --truth figures of accuracy are left out.

    Accuracy is over the tasks whose truth is known; where m labels are level, each is
    right to 1/m. In the file such an answer is the label with the most votes, or else the first. Labels are compared as
    they are written: 1 is not 1.0. Seconds are the method's own; sure is the share of answers stated at 0.95 or more.

    Of other types --method all names the methods. A number is right within a twentieth of the range (of nine tenths of
    the numbers given), a text if case, spaces and punctuation are all that differs. Comparisons (pairwise) have the
    columns worker,left,right,label and come to a score for each item; their truths (item,label) are numbers, and
    accuracy is the share of pairs of items in their order.

    JSON has method, accuracy, seconds, tasks, workers and judgments; of all methods it is a list.

    Example: manyhands aggregate answers.csv --truth truth.csv --method all

    Example: manyhands aggregate ages.csv --type number -o answers.csv
    """
    if type_ != "choice":
        _other(type_, answers, method, truth, out, json_)
        return
    method = method or METHODS[-1]
    if method not in (*METHODS, "all"):
        raise typer.BadParameter(
            f"there is no method {method!r}; there are {', '.join(METHODS)}, all", param_hint="--method"
        )
    _writable(method, out, answers, truth)
    from manyhands_aggregator.truth.methods import infer
    from manyhands_cli.crowdfiles import read_answers, read_truth
    from manyhands_cli.files import write_whole
    from manyhands_cli.table import BadTable

    judged = read_answers(answers)
    truths, bad = (None, []) if truth is None else read_truth(truth, judged)
    _name_bad((answers, judged.bad), (truth, bad))
    if are_measured(judged):
        _hint(
            f"all labels are numbers, {len(judged.labels):,} of them different, and are taken as choices; "
            "for measurements say --type number"
        )
    if unheard := 0 if truths is None else int((truths >= len(judged.labels)).sum()):
        _hint(f"{unheard:,} of the truths are labels that nobody gave; are labels written alike? 1 is not 1.0")
    found = []
    for name in METHODS if method == "all" else (method,):
        began = time.perf_counter()
        try:
            inferred = infer(judged.ballots, name)
        except ValueError as error:
            raise BadTable(f"{answers}: {error}; of free text labels say --type text") from error
        found.append(said_of(name, inferred, judged, truths, time.perf_counter() - began))
        if out is not None:
            write_whole(out, rows(inferred, judged))
    if json_:
        found = [{key: one[key] for key in KEYS} for one in found]
    _say(found, method, json_, told=out is not None or truth is not None)


def _other(type_: Typed, answers: Path, method: str | None, truth: Path | None, out: Path | None, json_: bool) -> None:
    from manyhands_cli.files import write_whole
    from manyhands_cli.typed import read

    there = read(type_, answers, truth)
    method = method or there.default
    if method not in (*there.methods, "all"):
        raise typer.BadParameter(
            f"there is no method {method!r} for {type_}; there are {', '.join(there.methods)}, all",
            param_hint="--method",
        )
    _writable(method, out, answers, truth)
    _name_bad((answers, there.bad), (truth, there.bad_truths))
    found = []
    for name in there.methods if method == "all" else (method,):
        figures, lines = there.make(name)
        found.append(figures)
        if out is not None:
            write_whole(out, _csv(there.head, lines))
    _say(found, method, json_, told=out is not None or truth is not None)


def _writable(method: str, out: Path | None, *read: Path | None) -> None:
    """Refuse an output file that would be of no use, or would take the place of what is read."""
    if out is None:
        return
    said = None
    if method == "all":
        said = "answers are those of one method; name it with --method"
    elif out.suffix.lower() != ".csv":
        said = f"answers are written as CSV; name the file .csv, not {out.name}"
    elif out.is_dir():
        said = f"{out} is a folder"
    elif not out.parent.is_dir():
        said = f"there is no folder {out.parent}"
    elif any(file is not None and file.exists() and out.exists() and out.samefile(file) for file in read):
        said = f"{out} is what is read; write the answers to another file"
    if said is not None:
        raise typer.BadParameter(said, param_hint="--out")


def are_measured(judged: Judged) -> bool:
    """Whether labels look like measurements: all of them numbers, and many of them different."""
    different = len(judged.labels)
    return (different > MANY or (different >= FEW and different * 4 > len(judged.ballots))) and not any(
        map(number_or_why, judged.labels)
    )


def _hint(said: str) -> None:
    show.notes().print(said, soft_wrap=True)


def _name_bad(*files: tuple[Path | None, Sequence[str]]) -> None:
    from manyhands_cli.table import name_bad

    for path, bad in files:
        for said in name_bad(path, bad) if path else ():
            show.notes().print(show.printable(said), soft_wrap=True)


def _say(found: Sequence[dict[str, Any]], method: str, json_: bool, *, told: bool) -> None:
    if json_:
        show.as_json(found if method == "all" else found[0])
        return
    known = [key for key in found[0] if key != "known" or found[0][key]]
    columns = [key for key in known if any(one[key] is not None for one in found)]
    if method == "all":
        show.table(found, columns)
    else:
        show.pairs({key: found[0][key] for key in columns})
    if not told:
        writes = "--method NAME -o OUT.csv" if method == "all" else "-o OUT.csv"
        _hint(f"{writes} writes the answers; --truth TRUTH.csv says how right they are")


def said_of(method: str, inferred: Inferred, judged: Judged, truths: Ints | None, seconds: float) -> dict[str, Any]:
    """What a method has come to, as one object; figures of accuracy are None without truths."""
    import numpy as np

    from manyhands_aggregator.truth.score import score

    unknown = np.full(judged.ballots.tasks, -1, np.int32)
    scored = score(inferred.posterior, unknown if truths is None else truths)
    return {
        "method": method,
        "accuracy": _rounded(scored.accuracy),
        "seconds": round(seconds, 4),
        "tasks": judged.ballots.tasks,
        "workers": judged.ballots.workers,
        "judgments": len(judged.ballots),
        "known": scored.known,
        "sure": _rounded(scored.sure),
        "sure_right": _rounded(scored.sure_right),
        "calibration_error": _rounded(scored.calibration_error),
    }


def rows(inferred: Inferred, judged: Judged) -> Iterator[bytes]:
    """The answers as a CSV file, in the order in which the tasks came."""
    from manyhands_aggregator.truth.inferred import answers

    chosen = answers(inferred.posterior, judged.ballots.votes())
    confidence = inferred.posterior[range(len(chosen)), chosen]
    told = zip(judged.tasks, chosen.tolist(), confidence.tolist(), strict=True)
    return _csv(("task", "label", "confidence"), ((task, judged.labels[k], f"{c:.6f}") for task, k, c in told))


def _csv(head: Sequence[str], lines: Iterator[Sequence[str]]) -> Iterator[bytes]:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    while True:
        writer.writerows(islice(lines, BLOCK))
        if not text.tell():
            return
        yield text.getvalue().encode()
        text.seek(0)
        text.truncate()


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
