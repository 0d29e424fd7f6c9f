"""The parts of the page about answers: what they are, how confident, and how far judges agree."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from manyhands.spec import JobSpec
from manyhands_aggregator.bundle.confidence import BINS
from manyhands_aggregator.bundle.figures import NUMBERS, Figures
from manyhands_aggregator.bundle.tally import Share
from manyhands_aggregator.report.charts import Column, Point, columns, diagonal
from manyhands_aggregator.report.markup import Child, Html, el, join, outside
from manyhands_aggregator.report.said import NOTHING, count, interval, number, plural, share
from manyhands_aggregator.report.tables import bar, behind, figure, matrix, section, side_by_side, table

#: Options up to so many letters leave room for two tables side by side.
NARROW = 10
#: Rows of a table of answers, and judges with a table of their own.
ROWS, JUDGES = 30, 12


def answers(figures: Figures) -> Html:
    """What was answered, and how many judgments a task took."""
    first = _numbers(figures) if figures.spec.answer.type == "number" else _values(figures)
    return section("Answers", None, side_by_side(first, _each(figures)))


def _values(figures: Figures) -> Html:
    answered = figures.answered
    order = {option: at for at, option in enumerate(figures.spec.answer.options or ())}
    said = dict.fromkeys(order, 0) | figures.answers
    shown = sorted(said.items(), key=lambda each: (-each[1], order.get(each[0], 0), each[0]))
    if len(shown) <= ROWS and order:
        shown.sort(key=lambda each: order.get(each[0], 0))
    most = max((n for _, n in shown), default=0)
    truths = figures.truths if figures.known else None
    heads = ["answer", "tasks", "share", ""] + (["right", "found"] if truths is not None else [])
    rows: list[list[Child]] = []
    for value, tasks in shown[:ROWS]:
        row: list[Child] = [outside(value), count(tasks), share(tasks / answered if answered else None)]
        row.append(bar(tasks / most if most else 0))
        if truths is not None:
            at = order[value]
            right = int(truths[at, at])
            row += [share(_part(right, int(truths[:, at].sum()))), share(_part(right, int(truths[at].sum())))]
        rows.append(row)
    left = sum(n for _, n in shown[ROWS:]) + figures.others
    if left:
        rows.append(["others", count(left), share(left / answered), "", *([""] * (len(heads) - 4))])
    note = None
    if figures.spec.answer.type == "choices":
        note = "The tasks that have each option among their answers."
    if truths is not None:
        note = "Right: of the tasks answered so, those that are so. Found: of those that are so, those answered so."
    return figure("What was answered", table("Answers", heads, rows), note=note)


def _numbers(figures: Figures) -> Html:
    low, high = figures.span or (0.0, 0.0)
    edges = [low / 2 + (high / 2 - low / 2) * at / NUMBERS for at in range(NUMBERS + 1)]
    edges = [2 * edge for edge in edges]
    bars, rows = [], []
    for at, tasks in enumerate(figures.numbers):
        stretch = f"{edges[at]:.4g} to {edges[at + 1]:.4g}"
        bars.append(Column(tasks, f"{stretch}: {plural(tasks, 'task')}", f"{edges[at]:.3g}" if at % 6 == 0 else ""))
        rows.append([stretch, count(tasks)])
    chart = columns(bars, title="Answers by value", below="answer", left="tasks", edges=True)
    return figure("What was answered", chart, behind(table("Answers by value", ["answer", "tasks"], rows)))


def _each(figures: Figures) -> Html:
    most = max(figures.each, default=0)
    wide = max(1, math.ceil((most + 1) / 24))  # many judgments are shown in groups
    bars, rows = [], []
    for start in range(0, most + 1, wide):
        tasks = sum(figures.each[n] for n in range(start, start + wide))
        label = str(start) if wide == 1 else f"{start}–{start + wide - 1}"
        shown = label if wide == 1 or (start // wide) % 4 == 0 else ""
        bars.append(Column(tasks, f"{label} judgments: {plural(tasks, 'task')}", shown))
        if tasks:
            rows.append([label, count(tasks), share(tasks / figures.each.total())])
    chart = columns(bars, title="Tasks by their number of judgments", below="judgments of a task", left="tasks")
    said = table("Tasks by their number of judgments", ["judgments", "tasks", "share"], rows)
    return figure("Judgments a task", chart, behind(said))


def confidence(figures: Figures) -> Html | None:
    """How confident the answers are and, where the truth is known, how far that can be believed."""
    found = figures.confidence
    if found.mean is None:
        return None
    bars, rows = [], []
    points = []
    for at, tasks in enumerate(found.count):
        stretch = f"{at / BINS:.2f} to {(at + 1) / BINS:.2f}"
        label = f"{at / BINS:g}" if at % 4 == 0 else ""
        bars.append(Column(tasks, f"{stretch}: {plural(tasks, 'answer')}", label))
        right = Share(found.right[at], found.known[at])
        if tasks:
            rows.append([stretch, count(tasks), count(right.whole), share(right.share), interval(right)])
        if right.share is not None and right.interval is not None:
            x = found.stated[at] / right.whole
            told = f"stated {x:.3f}, right {right.share:.3f}: {plural(right.whole, 'answer')}"
            points.append(Point(x, right.share, *right.interval, right.whole / sum(found.known), told))
    title = "Answers by confidence"
    chart = columns(bars, title=title, below="confidence", left="answers", edges=True)
    heads = ["confidence", "answers", "known", "right", "at 95 %"]
    if not points:
        rows, heads = [row[:2] for row in rows], heads[:2]
    first = figure("How confident they are", chart, behind(table(title, heads, rows)))
    if not points:
        told = "Of none of these tasks is the truth known, to hold that against."
        lede = f"On average an answer is stated at {found.mean:.3f}. {told}"
        return section("Confidence", lede, side_by_side(first))
    title = "Stated confidence against the share that is right"
    second = figure(
        "How far that can be believed",
        diagonal(points, title=title, below="stated confidence", left="share right"),
        note="On the line, what is stated is true. Below it, too much is stated. Bars: where the share lies, at 95 %.",
    )
    sure = Share(*(sum(side[-1:]) for side in (found.right, found.known)))
    lede = (
        f"On average an answer is stated at {found.mean:.3f}; stated and true differ by {found.error or 0:.3f} (ECE)."
    )
    if sure.share is not None:
        lede += f" Of those stated at 0.95 or more {share(sure.share)} are right."
    return section("Confidence", lede, side_by_side(first, second))


def agreement(figures: Figures) -> Html | None:
    """How far judges agree beyond chance, on what, and where they do not."""
    said = figures.agreement
    shown: list[Child] = []
    if said is not None and "observed" in said:
        shown.append(_options(said["options"]))
    elif said is not None and "options" in said:
        shown.append(_labels(said["options"]))
    if figures.hardest:
        shown.append(_hardest(figures))
    if said is None and not shown:
        return None
    options = figures.spec.answer.options or []
    narrow = bool(options) and max(map(len, options)) <= NARROW  # of texts nothing is known
    lede = None if said is None else _agreed(said)
    if lede is not None and figures.spec.cascades:
        lede += " They are those that the plan asked of more: tasks on which all would agree are mostly not among them."
    return section("Agreement", lede, *([side_by_side(*shown)] if narrow else shown))


def _agreed(found: Mapping[str, Any]) -> str:
    said, alpha = [], found["alpha"]
    if alpha is not None:
        verdict = "to be relied on" if alpha >= 0.8 else "for tentative conclusions" if alpha >= 0.667 else "poor"
        said.append(f"Krippendorff's α is {alpha:.3f}: {verdict} (1 is always, 0 as often as by chance).")
    kappas = [
        f"{name} is {found[key]:.3f}"
        for key, name in (("fleiss_kappa", "Fleiss' κ"), ("cohen_kappa", "Cohen's κ of two judges"))
        if found.get(key) is not None
    ]
    if found.get("observed") is not None:
        kappas.insert(0, f"{share(found['observed'])} of two judgments of a task are the same")
    if kappas:
        said.append(f"{'; '.join(kappas)}.")
    said.append(f"{plural(found['tasks'], 'task')} had two judges or more.")
    return " ".join(said)


def _options(options: Sequence[Mapping[str, Any]]) -> Html:
    rows: list[list[Child]] = []
    for said in sorted(options, key=lambda each: -each["judgments"])[:ROWS]:
        agreed, taken = said["agreed"], NOTHING
        other = el("span", outside(said["taken_for"]), f" ({share(said['share'])})") if "taken_for" in said else taken
        drawn = "" if agreed is None else bar(agreed)
        rows.append([outside(said["option"]), count(said["judgments"]), share(agreed), drawn, other])
    heads = ["option", "said", "others say it too", "", "others say instead"]
    return figure("Option by option", table("Agreement by option", heads, rows, (0, 4)))


def _labels(options: Sequence[Mapping[str, Any]]) -> Html:
    rows: list[list[Child]] = [
        [outside(said["option"]), count(said["judgments"]), number(said["alpha"])] for said in options[:ROWS]
    ]
    return figure("Label by label", table("Agreement by label", ["label", "said", "α"], rows))


def _hardest(figures: Figures) -> Html:
    known = any(hard.truth is not None for hard in figures.hardest)
    heads = ["task", "votes", "answer", *(["truth"] if known else []), "confidence"]
    rows: list[list[Child]] = []
    for hard in figures.hardest:
        votes = [el("span", outside(value, 40), f" ×{n}" if n > 1 else None, class_="vote") for value, n in hard.votes]
        row: list[Child] = [outside(hard.id, 60), join(votes), outside(hard.answer, 60)]
        if known:
            row.append(NOTHING if hard.truth is None else outside(hard.truth, 60))
        rows.append([*row, number(hard.confidence)])
    note = "Those with answers of the lowest confidence, of all that several judged."
    return figure("The hardest tasks", table("The hardest tasks", heads, rows, range(len(heads) - 1)), note=note)


def confusion(figures: Figures, spec: JobSpec) -> Html | None:
    """What is taken for what: answers against truths, and each judge against the answers."""
    options = spec.answer.options or []
    shown = []
    if figures.truths is not None and figures.truths.any():
        shown.append(
            figure(
                "The answers, beside the truth",
                matrix("Truth against answer", "truth", "answer", options, figures.truths),
            )
        )
    judges = [(judge, counts) for judge, counts in figures.said.items() if counts.any()]
    for judge, counts in judges[:JUDGES]:
        drawn = matrix(f"Answer against what {judge} said", "answer", "said", options, counts)
        shown.append(figure(f"{judge}, beside the answers", drawn))
    if not shown:
        return None
    return section("What is taken for what", "Darker is a larger share of its row.", side_by_side(*shown))


def _part(part: int, whole: int) -> float | None:
    return part / whole if whole else None
