"""What was foretold of the job, and how right that was."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from manyhands_aggregator.report.markup import Child, Html
from manyhands_aggregator.report.said import NOTHING, money, number, seconds, share
from manyhands_aggregator.report.tables import figure, section, table

#: How each figure reads; the others are numbers.
_READ: Mapping[str, Callable[[float], str]] = {
    "judgments": lambda value: f"{value:,.0f}",
    "cost": money,
    "seconds": seconds,
    "accuracy": share,
}


def planned(rows: Sequence[Mapping[str, Any]]) -> Html | None:
    """Planned and actual figures; None where nothing was foretold."""
    if not rows:
        return None
    drawn: list[list[Child]] = []
    for row in rows:
        read = _READ.get(row["figure"], number)
        between = NOTHING if row["low"] is None else f"{read(row['low'])} – {read(row['high'])}"
        difference = NOTHING if row["difference"] is None else f"{row['difference']:+.1f} %"
        drawn.append([row["figure"], read(row["planned"]), between, read(row["actual"]), difference])
    heads = ["figure", "planned", "80 % interval", "actual", "difference"]
    lede = "What manyhands plan foretold, what came of it, and the difference in per cent of what was planned."
    return section("Planned and actual", lede, figure("How right the plan was", table("Plan", heads, drawn)))
