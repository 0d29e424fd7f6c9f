"""``manyhands replay``: what an accept rule would have bought of judgments on record."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from manyhands_cli import show
from manyhands_cli.options import AsJson

if TYPE_CHECKING:  # numpy takes its time to import
    from manyhands_aggregator.truth.replay import Replayed

#: Seconds after which it is said how far it is.
QUIET = 2.0


def replay(
    answers: Annotated[
        Path,
        typer.Argument(
            metavar="ANSWERS.csv",
            help="Judgments: a CSV file with the columns task,worker,label; - is standard input.",
            show_default=False,
        ),
    ],
    truth: Annotated[
        Path,
        typer.Option(metavar="TRUTH.csv", help="Truths: a CSV file with the columns task,label.", show_default=False),
    ],
    policy: Annotated[
        str,
        typer.Option(
            metavar="POLICY",
            help="When a task has enough: confidence=P (the posterior of the likeliest answer), margin=N (voters ahead "
            "of the next answer), agree=N (voters who say the same), at_most=N (judgments), with commas between; or "
            "adaptive, which is confidence=0.85,at_most=8 where a task has 10 judgments or fewer in the mean, "
            "confidence=0.95,at_most=12 where it has 20 or more, and between them in proportion.",
        ),
    ] = "adaptive",
    seeds: Annotated[int, typer.Option(min=1, help="In how many random orders the judgments come.")] = 5,
    json_: AsJson = False,
) -> None:
    """Replay judgments on record, to see what a policy would have bought of them, and how right the answers were.

    Every task's judgments come one at a time in random order to the code that decides in the aggregator, until it
    accepts or they run out; the answers are then those of the default method of `aggregate` over what was bought.
    The same for fixed redundancies. Of policies with several conditions all must hold; at_most ends a task anyway.

    saved against fixed: against the redundancy of the same accuracy, interpolated between those shown; an accuracy
    that none of them reaches is compared with all judgments.

    margin error at most: of answers so many voters ahead, so many can be wrong if voters err independently and are as
    often right as these are.

    Example: manyhands replay answers.csv --truth truth.csv --policy confidence=0.95,at_most=7
    """
    from manyhands_aggregator.truth.policy import parse
    from manyhands_aggregator.truth.replay import error_bound
    from manyhands_aggregator.truth.replay import replay as play
    from manyhands_cli.crowdfiles import read_answers, read_truth
    from manyhands_cli.progress import JobProgress
    from manyhands_cli.table import name_bad

    judged = read_answers(answers)
    rule = parse(policy, len(judged.ballots) / max(1, judged.ballots.tasks))
    truths, bad = read_truth(truth, judged)
    for path, some in ((answers, judged.bad), (truth, bad)):
        for what in name_bad(path, some):
            show.notes().print(show.printable(what), soft_wrap=True)
    began = said = time.perf_counter()
    with JobProgress("replay", quiet=json_) as progress:

        def begins(seed: int) -> None:
            nonlocal said
            if (now := time.perf_counter()) - said >= QUIET:
                said = now
                progress.note(f"order {seed + 1} of {seeds}")

        found = play(judged.ballots, truths, rule, seeds=seeds, begins=begins)
    result = said_of(found, len(judged.tasks), policy, seeds, time.perf_counter() - began)
    if (bound := error_bound(judged.ballots, truths, rule)) is not None:
        result["margin_error_at_most"] = round(bound, 6)
    result["rule"] = {key: value for key, value in dataclasses.asdict(rule).items() if value is not None}
    if json_:
        show.as_json(result)
    else:
        _print(result | {"rule": ",".join(f"{key}={value}" for key, value in result["rule"].items())})


def said_of(found: Replayed, tasks: int, policy: str, seeds: int, seconds: float) -> dict[str, Any]:
    """What was found, as one object."""
    from manyhands_aggregator.truth.methods import DEFAULT

    return {
        "policy": policy,
        "method": DEFAULT,
        "tasks": tasks,
        "judgments": found.rule.judgments,
        "accuracy": round(found.rule.accuracy, 6),
        "saved_against_all": round(found.saved_against_all, 6),
        "saved_against_fixed": round(found.saved_against_fixed, 6),
        "fixed": {
            name: {"judgments": point.judgments, "accuracy": round(point.accuracy, 6)}
            for name, point in found.fixed.items()
        },
        "seeds": seeds,
        "seconds": round(seconds, 3),
    }


def _print(result: dict[str, Any]) -> None:
    tasks = result["tasks"]
    rows = [{"bought": result["policy"], "judgments": result["judgments"], "accuracy": result["accuracy"]}]
    for name, point in result["fixed"].items():
        rows.append({"bought": "all" if name == "all" else f"{name} a task", **point})
    for row in rows:
        row["a_task"] = row["judgments"] / tasks
    show.table(rows, ("bought", "judgments", "a_task", "accuracy"))
    show.line("")
    keys = ("rule", "tasks", "saved_against_all", "saved_against_fixed", "margin_error_at_most", "seeds", "seconds")
    show.pairs({key: result[key] for key in keys if key in result})
