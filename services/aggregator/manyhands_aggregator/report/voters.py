"""The part of the page about who judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from manyhands_aggregator.bundle.figures import Figures
from manyhands_aggregator.bundle.tally import Tally
from manyhands_aggregator.report.markup import Child, Html, outside
from manyhands_aggregator.report.said import NOTHING, count, interval, money, number, seconds, share
from manyhands_aggregator.report.tables import bar, figure, section, table

#: Rows of a table; all workers are in the files beside the report.
WORKERS = 20


def voters(figures: Figures) -> Html | None:
    """How good judges, their workers, and people were."""
    judges = figures.voters.judges
    if not judges:
        return None
    numbers = figures.spec.answer.type == "number"
    known = any(tally.gold for tally in judges.values())
    paid = bool(figures.cost)
    heads = ["judgments", "failed", "mean distance" if numbers else "agrees with the answers"]
    heads += [*([""] if not numbers else []), *(["right", "at 95 %"] if known else []), "seconds each"]
    heads += ["cost"] if paid else []

    def row(tally: Tally) -> list[Child]:
        cells: list[Child] = [count(tally.judgments), count(tally.errors) if tally.errors else NOTHING]
        if numbers:
            cells.append(number(tally.off / tally.measured if tally.measured else None))
        else:
            cells += [share(tally.agreement.share), bar(tally.agreement.share or 0)]
        if known:
            cells += [share(tally.accuracy.share), interval(tally.accuracy)]
        cells.append(seconds(tally.seconds_each))
        return [*cells, money(tally.cost)] if paid else cells

    shown: list[Child] = [
        figure("Judges", table("Judges", ["judge", *heads], [[outside(j), *row(t)] for j, t in judges.items()]))
    ]
    workers = sorted(figures.voters.workers.items(), key=lambda each: (-each[1].judgments, each[0]))
    if len(workers) > len(judges):
        rows = [[outside(worker), outside(judge), *row(tally)] for (judge, worker), tally in workers[:WORKERS]]
        note = None if len(workers) <= WORKERS else f"The busiest of {count(len(workers))}; workers.csv has all."
        drawn = table("Workers", ["worker", "judge", *heads], rows, (0, 1))
        shown.append(figure("Workers", drawn, note=note))
    if figures.ratings:
        shown.append(_ratings(figures.ratings))
    return section("Judges and workers", None, *shown)


def _ratings(found: Sequence[Mapping[str, Any]]) -> Html:
    """Judges and people by how little they seem to look at their tasks, and what the job's rules say to them."""
    grave = {action: place for place, action in enumerate(("retire", "pause", "warn"))}
    order = sorted(found, key=lambda each: (grave.get(each["action"], len(grave)), -(each["spam"] or 0)))
    rows: list[list[Child]] = []
    for each in order[:WORKERS]:
        low, high = each["accuracy_low"], each["accuracy_high"]
        known = each["accuracy"] is not None and low is not None and high is not None
        between = f"{low * 100:.1f}–{high * 100:.1f} %" if known else NOTHING
        says = "; ".join(each["reasons"]) or NOTHING
        row: list[Child] = [outside(each["worker"]), count(each["compared"]), share(each["accuracy"]), between]
        rows.append([*row, share(each["spam"]), each["action"] or NOTHING, outside(says)])
    heads = ["judge or person", "compared", "right", "between", "spam", "rule", "why"]
    note = (
        "Right is what is known to be, or else what all others make of the task; the share is that expected of the "
        "next judgment, each of its bounds holds with 95 % certainty. Spam is the probability of not having looked. "
        "ratings.jsonl has all of it."
    )
    return figure("Quality", table("Quality", heads, rows, (0, 5, 6)), note=note)
