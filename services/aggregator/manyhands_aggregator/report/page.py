"""The page: its head, its parts in their order, and how the answers were made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import resources
from typing import Any

from manyhands_aggregator.bundle.figures import TIMES, Figures
from manyhands_aggregator.report import parts
from manyhands_aggregator.report.charts import WHOLE, Column, columns
from manyhands_aggregator.report.markup import Child, Html, el, join, outside
from manyhands_aggregator.report.planned import planned
from manyhands_aggregator.report.said import (
    NOTHING,
    count,
    interval,
    listed,
    money,
    number,
    plural,
    seconds,
    share,
)
from manyhands_aggregator.report.tables import bar, behind, figure, section, side_by_side, table
from manyhands_aggregator.report.voters import voters

#: Judges that the head names one by one.
NAMED = 4
#: What a browser may fetch for this page: nothing.
POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def page(figures: Figures, manifest: Mapping[str, Any]) -> bytes:
    """The report of a job, from its figures and the manifest of its bundle."""
    shown = [
        parts.answers(figures),
        _stages(figures),
        parts.confidence(figures),
        parts.agreement(figures),
        voters(figures),
        parts.confusion(figures, figures.spec),
        _time(figures, manifest),
        planned(manifest.get("planned", ())),
        _failures(figures),
        _made(manifest),
    ]
    title = f"{manifest['name']}: result"
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=POLICY),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("title", title),
        el("style", Html(resources.files(__package__).joinpath("style.css").read_text("utf-8"))),
    )
    body = el("body", _head(figures, manifest), el("main", join(shown)))
    return b"<!doctype html>\n" + el("html", head, body, lang="en").encode() + b"\n"


def _head(figures: Figures, manifest: Mapping[str, Any]) -> Html:
    spec = figures.spec
    question = el("p", outside(spec.question, 500), class_="question") if spec.question else None
    return el(
        "header",
        el("p", "Manyhands · the result of a job", class_="over"),
        el("h1", outside(manifest["name"])),
        question,
        el("p", _lede(figures, manifest), class_="lede"),
        _tiles(figures, manifest),
    )


def _lede(figures: Figures, manifest: Mapping[str, Any]) -> str:
    """What the job was, and how good its answers are."""
    tasks, answered = figures.tasks, figures.answered
    judges = list(figures.voters.judges)
    by = plural(len(judges), "judge") if len(judges) > NAMED else listed(judges)
    done = "all answered" if answered == tasks else f"{answered:,} answered"
    said = f"{plural(tasks, 'task')}, {done}, from {plural(manifest['judgments'], 'judgment')}"
    said += f" by {by}" if by else ""
    said += f"; {plural(figures.mixed, 'task')} of gold mixed in" if figures.mixed else ""
    if manifest["state"] != "complete":
        reason = f" ({manifest['reason']})" if manifest.get("reason") else ""
        said += f"; the job ended {manifest['state']}{reason}"
    accuracy, alpha = figures.accuracy, _alpha(figures)
    if accuracy.share is not None:
        whole = f"{plural(accuracy.whole, 'task')} of known truth"
        return f"{said}. Of {whole} {share(accuracy.share)} are answered right (95 % interval {interval(accuracy)})."
    if alpha is not None:
        return f"{said}. No truth is known; the judges' agreement beyond chance is α = {alpha:.3f}."
    return f"{said}. No truth is known, and no task was judged twice: how good the answers are cannot be told."


def _alpha(figures: Figures) -> float | None:
    said = figures.agreement
    return None if said is None else said["alpha"]


def _tiles(figures: Figures, manifest: Mapping[str, Any]) -> Html:
    tasks, answered = figures.tasks, figures.answered
    made = sum(judgments * count for judgments, count in figures.each.items())
    accuracy, alpha, mean = figures.accuracy, _alpha(figures), figures.confidence.mean
    tiles: list[tuple[str, str, str]] = [("answered", share(answered / tasks if tasks else None), f"of {count(tasks)}")]
    if accuracy.share is not None:
        tiles.append(("right", share(accuracy.share), interval(accuracy)))
    if alpha is not None:
        tiles.append(("agreement α", f"{alpha:.3f}", "Krippendorff's"))
    if mean is not None:
        tiles.append(("confidence", f"{mean:.3f}", "mean of the answers"))
    tiles.append(("judgments a task", number(made / tasks if tasks else None), _in_all(manifest)))
    if figures.paid:
        tiles.append(("cost", money(figures.paid), f"{money(figures.paid / answered)} an answer" if answered else ""))
    rate = f"{number(tasks / manifest['seconds'])} tasks a second" if manifest["seconds"] else ""
    tiles.append(("time", seconds(manifest["seconds"]), rate))
    return el(
        "dl", join(el("div", el("dt", n), el("dd", v), el("dd", note, class_="note")) for n, v, note in tiles),
        class_="tiles",
    )  # fmt: skip


def _in_all(manifest: Mapping[str, Any]) -> str:
    return f"{count(manifest['judgments'])} in all"


def _stages(figures: Figures) -> Html | None:
    if len(figures.spec.stages) < 2:
        return None
    total = figures.tasks
    rows: list[list[Child]] = []
    for at, stage in enumerate(figures.spec.stages):
        found = figures.stages[at]
        part = found.tasks / total if total else 0.0
        names = listed([judge.judge for judge in stage.judges])
        rows.append([str(at), outside(names), count(found.tasks), share(part), bar(part), count(found.judgments),
                     count(found.last)])  # fmt: skip
    heads = ["stage", "judges", "tasks", "share", "", "judgments", "went no further"]
    made, all_of_them = sum(s.judgments for s in figures.stages.values()), total * _slots(figures)
    lede = None
    if 0 < made < all_of_them:
        lede = f"{count(made)} judgments; {count(all_of_them)} if every judge had been asked of every task: "
        lede += f"{share(1 - made / all_of_them)} fewer."
    return section("Stages", lede, figure("What each stage judged", table("Stages", heads, rows, (0, 1))))


def _slots(figures: Figures) -> int:
    """Judgments of a task by all the judges of the plan."""
    return sum(judge.judgments for stage in figures.spec.stages for judge in stage.judges)


def _time(figures: Figures, manifest: Mapping[str, Any]) -> Html | None:
    if not any(figures.times):
        return None
    each = manifest["seconds"] / TIMES
    bars, rows = [], []
    for at, judgments in enumerate(figures.times):
        stretch = f"{seconds(at * each)} to {seconds((at + 1) * each)}"
        label = seconds(at * each) if at % 10 == 0 else ""
        bars.append(Column(judgments, f"{stretch}: {plural(judgments, 'judgment')}", label))
        if judgments:
            rows.append([stretch, count(judgments)])
    title = "Judgments over time"
    chart = columns(bars, title=title, below="since the job was opened", left="judgments", edges=True, width=WHOLE)
    shown: list[Child] = [figure(title, chart, behind(table(title, ["time", "judgments"], rows)))]
    work = sum(tally.seconds for tally in figures.voters.judges.values())
    lede = (
        f"Opened {_when(manifest['opened'])}, ended {_when(manifest['ended'])}; judges worked {seconds(work)} in all."
    )
    if figures.cost:
        said = {judge: tally for judge, tally in figures.voters.judges.items() if tally.cost}
        costs: list[list[Child]] = [
            [outside(j), count(t.judgments), money(t.cost), share(t.cost / figures.cost), bar(t.cost / figures.cost)]
            for j, t in said.items()
        ]
        shown.append(figure("Cost", table("Cost", ["judge", "judgments", "cost", "share", ""], costs)))
    if "cost" in manifest:
        names = ("judgments, by price", "rewards, what people earned", "the whole")
        sums: list[list[Child]] = [[n, money(one)] for n, one in zip(names, manifest["cost"].values(), strict=True)]
        shown.append(figure("Price and rewards", table("Price and rewards", ["", "cost"], sums)))
    return section("Time and cost" if figures.paid else "Time", lede, *shown)


def _failures(figures: Figures) -> Html | None:
    if not figures.failures and not figures.errors:
        return None
    shown = [
        figure(title, table(title, ["code", noun], [[outside(code), count(n)] for code, n in counter.most_common(20)]))
        for title, noun, counter in (
            ("Tasks without an answer", "tasks", figures.failures),
            ("Judgments that failed", "judgments", figures.errors),
        )
        if counter
    ]
    return section("What failed", None, side_by_side(*shown))


def _made(manifest: Mapping[str, Any]) -> Html:
    versions = ", ".join(f"{name} {version or NOTHING}" for name, version in manifest["versions"].items())
    facts: list[list[Child]] = [
        ["job", outside(manifest["job"])],
        ["method", manifest["method"]],
        ["parameters", el("code", outside(json.dumps(manifest["parameters"], ensure_ascii=False), 1000))],
        ["seed", NOTHING if manifest["seed"] is None else str(manifest["seed"])],
        ["job file", el("code", manifest["job_file"]["digest"])],
        ["versions", versions],
    ]
    files = [[name, count(said["bytes"]), el("code", said["sha256"])] for name, said in manifest["files"].items()]
    lede = "The files beside this page hold all that the answers rest on; manyhands reaggregate computes them again."
    return section(
        "How these answers were made",
        lede,
        figure("Method", table("Method", ["", ""], facts, (0, 1))),
        figure("Files", table("Files", ["file", "bytes", "SHA-256"], files, (0, 2))),
    )


def _when(at: float | None) -> str:
    return NOTHING if at is None else f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"
