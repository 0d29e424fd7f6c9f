"""What was foretold of a job beside what came of it; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: What is compared, in this order.
FIGURES = ("judgments", "cost", "seconds", "accuracy", "confidence")


def compare(plan: Mapping[str, Any], found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Planned and actual figures, a row each, and by how many per cent of the planned the actual one is more or less.

    ``plan`` has the figures and, in ``between``, their intervals, ``found`` the figures there are. How right the
    answers are is compared on tasks of known truth; where there are none, how sure they are.
    """
    rows = []
    names = [name for name in FIGURES if isinstance(plan.get(name), (int, float)) and found.get(name) is not None]
    for name in names:
        if name == "confidence" and "accuracy" in names:
            continue
        low, high = plan.get("between", {}).get(name, (None, None))
        planned, came = plan[name], found[name]
        rows.append(
            {
                "figure": name, "planned": planned, "low": low, "high": high, "actual": round(came, 6),
                "difference": round(100 * (came / planned - 1), 1) if planned else (0.0 if not came else None),
            }
        )  # fmt: skip
    return rows
