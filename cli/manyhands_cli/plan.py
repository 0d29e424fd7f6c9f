"""``manyhands plan``: what a job takes and how right it will be, before it is run."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from manyhands_cli import show
from manyhands_cli.exits import Exit
from manyhands_cli.options import AGGREGATOR, AggregatorUrl, AsJson, Ca, Handlers, JobFile, Token, aggregator_client

if TYPE_CHECKING:
    from manyhands.spec import JobSpec
    from manyhands_aggregator.sample import Sample
    from manyhands_cli.foretell import Counted
    from manyhands_cli.planned import Basis

#: Tasks of a pilot that is not told how many: for how long judges take; and for what a plan with rules makes of them.
FEW, SOME = 20, 100


def plan(
    job: JobFile,
    handlers: Handlers = None,
    pilot: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Tasks, chosen by lot, that every judge of every stage tries. Default: 20, and 100 for plans with "
            "accept; none where --from or --skill say enough.",
            show_default=False,
        ),
    ] = None,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="JOB",
            help="Foretell from a job that has ended, in the place of a pilot: its id, the folder of a bundle or of a "
            "`run`, or a summary.json.",
            show_default=False,
        ),
    ] = None,
    skill: Annotated[
        list[str] | None,
        typer.Option(
            metavar="JUDGE=SHARE",
            help="Take this judge to be right so often, by itself, in the place of asking it; as often as its "
            "reputation says with JUDGE=reputation (`manyhands workers` has these). May be repeated.",
            show_default=False,
        ),
    ] = None,
    children: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Child processes that will share the work, over all workers. Default: one a core of this machine.",
            show_default=False,
        ),
    ] = None,
    people: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="People who work beside the child processes, each at a task. Default: none, for the children serve "
            "simulated crowds.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed draws the same tasks.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FILE", help="Keep it, for `run --plan` to say how right it was.", show_default=False
        ),
    ] = None,
    json_: AsJson = False,
    aggregator: AggregatorUrl = AGGREGATOR,
    token: Token = None,
    ca: Ca = None,
) -> None:
    """Foretell what a job takes before it is run: tasks, judgments, time, cost, and how right the answers will be.

    Counts the source and lets every judge try a few tasks; or goes by an earlier job. Then it rehearses the job many
    times over, with the code that decides in the aggregator: accept rules, at_most and budget. Figures come with what
    they lie between with 80 % certainty. Nothing is published or kept. The exit code is 1 where a run would stop at a
    bad row (ids that come twice are found, too), or a judge failed all of its pilot; standard error says why.

    Example: manyhands plan examples/digits/job.yaml --children 8

    Example: manyhands plan examples/digits/cascade.yaml --pilot 200 -o plan.json
    """
    from manyhands import logs
    from manyhands_aggregator.forecast import forecast
    from manyhands_aggregator.sample import Unknowable, Urn
    from manyhands_cli import foretell, jobfile, planned, reputations
    from manyhands_cli.progress import JobProgress

    logs.configure("plan", level="warning", format="text")
    given = dict(map(_skill, skill or ()))
    spec = jobfile.read(job, handlers, without=None if from_ else given)
    if from_ and pilot:
        raise typer.BadParameter("--from takes the place of a pilot; give one of them")
    tried = [] if from_ else [name for name in spec.judge_names if name not in given]
    if not tried and pilot:
        raise typer.BadParameter("--skill leaves no judge for the pilot")
    reputed = [name for name, share in given.items() if share is None]
    skills = {name: share for name, share in given.items() if share is not None}
    if reputed:
        client = aggregator_client(aggregator, token, ca)
        skills |= {name: reputations.skill(client, name, spec.answer.type) for name in reputed}
    size = (pilot or (SOME if spec.cascades else FEW)) if tried else 0
    with JobProgress(f"counting {spec.name}", quiet=json_) as progress:
        counted = foretell.count(spec, size, lambda tasks: progress.note(f"{tasks:,} tasks"), seed)
    pilots = foretell.pilot(spec, job, handlers, counted.sample, list(skills)) if tried else []
    if from_:
        from manyhands_cli.recall import recall

        found = recall(from_, spec, aggregator_client(aggregator, token, ca))
        sample = foretell.stated(found, skills)
    else:
        sample = foretell.sampled(counted, pilots, skills)
    at_work = children or os.cpu_count() or 1
    said = foretell.foretell(spec, counted, pilots, at_work)
    try:
        tasks = counted.tasks - counted.refused
        if not tasks:
            raise Unknowable("there are no tasks in the source")
        urn = Urn(spec, sample, seed)
        foreseen = forecast(spec, urn, tasks, capacity=at_work, people=people or 0, seed=seed)
        said = planned.foretold(spec, said, foreseen, sample, _basis(spec, from_, sample, counted, urn.unseen, reputed))
    except Unknowable as error:
        said["assumed"] = [f"{error}; judgments and cost are those of asking everybody"]
    dead = [pilot for pilot in pilots if pilot.dead]
    if dead:  # it would be right or sure of nothing only because nothing was said
        said = planned.without(said, "accuracy", "confidence")
    if out is not None:
        planned.write(out, spec, said)
    if json_:
        show.as_json(said)
    else:
        _print(said)
    for each in dead:
        said_of = f"{each.judge} failed the whole pilot of {each.tasks:,} tasks, first: {each.first_error}"
        show.notes().print(said_of, soft_wrap=True)
    if counted.stops is not None:
        show.notes().print(
            f"a run would stop at the first bad row: {counted.stops}; with `on_bad_row: set-aside` in the job file's "
            "source bad rows are set aside, and the others judged",
            soft_wrap=True,
        )
    if dead or counted.stops is not None:
        raise typer.Exit(Exit.SHORT)


def _skill(text: str) -> tuple[str, float | None]:
    """A judge, and how often it is right; None: as often as its reputation says."""
    judge, _, share = text.partition("=")
    if judge and share == "reputation":
        return judge, None
    try:
        found = float(share)
    except ValueError:
        found = -1.0
    if not judge or not 0 <= found <= 1:
        raise typer.BadParameter(
            f"--skill is JUDGE=SHARE with a share between 0 and 1, or JUDGE=reputation, not {text!r}"
        )
    return judge, found


def _basis(
    spec: JobSpec, from_: str | None, sample: Sample, counted: Counted, unseen: Sequence[str], reputed: Sequence[str]
) -> Basis:
    """What a forecast rests on, in words."""
    from manyhands.spec import PEOPLE
    from manyhands_aggregator.sample import CROWD
    from manyhands_cli.planned import Basis

    many = len(sample.tasks)
    rests_on = f"a pilot of {many:,} of {counted.tasks - counted.refused:,} tasks" if many else "stated skills alone"
    if from_:
        rests_on = f"{many:,} tasks of {from_}" if many else f"the summary {from_}"
    assumed = [
        f"{judge} is right in {sample.skills[judge]:.0%} of its judgments"
        f"{' (its reputation)' if judge in reputed else ''}, whatever the others say, and states no confidence"
        for judge in unseen
    ]
    if PEOPLE in unseen:
        assumed.append(f"there are {CROWD} people, all alike")
    if not many:
        assumed.append("every answer is as frequent as the next")
    elif not any(task.truth is not None for task in sample.tasks):
        assumed.append("no truth is known: what is right is taken from all judgments of a task together")
    untimed = [judge for judge in spec.judge_names if not sample.seconds.get(judge)]
    if untimed:
        assumed.append(f"judgments of {', '.join(untimed)} take no time")
    return Basis(rests_on=rests_on, assumed=assumed)


def _print(said: dict[str, Any]) -> None:
    judges, stages, between = said.pop("judges"), said.pop("stages", None), said.pop("between", {})
    assumed = said.pop("assumed", ())
    show.pairs({key: _with(key, value, between) for key, value in said.items()})
    for sentence in assumed:
        show.line(f"assumed: {sentence}")
    show.line("")
    if stages:
        show.table(stages, ("stage", "judges", "tasks", "judgments", "answers"))
        show.line("")
    show.table(judges, ("judge", "judgments", "load_seconds", "seconds_per_task", "price", "pilot_failed"))


def _with(key: str, value: Any, between: Mapping[str, Sequence[float]]) -> Any:
    """A figure, and within what it lies."""
    low, high = between.get(key, (value, value))
    if low == high:
        return value
    return f"{show.cell(value, key)}  ({show.cell(low, key)} to {show.cell(high, key)})"
