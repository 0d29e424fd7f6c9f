"""Charts as inline SVG: columns, and points against a diagonal. Sizes are in units of a view box."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from manyhands_aggregator.report.markup import Html, el, join

#: The view box of a chart of half the page's width, and of all of it; and the room around the plot.
HALF, WHOLE, HEIGHT = 520.0, 1060.0, 250.0
LEFT, TOP, RIGHT, BOTTOM = 58.0, 12.0, 10.0, 40.0
#: Columns are no wider.
WIDEST = 72.0
#: Columns so high are seen, however small their number beside the greatest.
SEEN = 1.5


class Column(NamedTuple):
    """A column: its number, what is told of it, and the label under it, if any."""

    value: float
    said: str
    label: str = ""


class Point(NamedTuple):
    """A point of 0..1 each way, the interval of ``y``, the share of all that it stands for, and what is told of it."""

    x: float
    y: float
    low: float
    high: float
    weight: float
    said: str


def columns(
    bars: Sequence[Column], *, title: str, below: str, left: str, edges: bool = False, width: float = HALF
) -> Html:
    """Columns side by side; ``below`` and ``left`` name the axes. With ``edges`` labels stand at their left edges."""
    top, step = _scale(max((bar.value for bar in bars), default=0.0))
    wide, high = width - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    each = wide / max(len(bars), 1)
    gap = max(min(each * 0.14, 6.0), each - WIDEST)
    drawn = [_rules(top, step, left, width)]
    for at, bar in enumerate(bars):
        tall = max(bar.value / top * high, SEEN) if bar.value else 0.0
        x, y = LEFT + at * each, TOP + high - tall
        if tall:
            mark = el("rect", el("title", bar.said), x=x + gap / 2, y=y, width=each - gap, height=tall, rx=1.5)
            drawn.append(mark)
        if bar.label:
            where = x if edges else x + each / 2
            drawn.append(_label(where, TOP + high + 15, bar.label, "middle"))
    drawn.append(_label(LEFT + wide / 2, HEIGHT - 6, below, "middle", "axis"))
    return _svg(title, drawn, width)


def diagonal(points: Sequence[Point], *, title: str, below: str, left: str) -> Html:
    """Points beside the diagonal on which they ought to lie; the larger, the more they stand for."""
    wide, high = HALF - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    drawn = [_rules(1.0, 0.25, left, HALF)]
    drawn.append(el("line", x1=LEFT, y1=TOP + high, x2=LEFT + wide, y2=TOP, class_="ideal"))
    for point in sorted(points, key=lambda each: -each.weight):
        x = LEFT + point.x * wide
        y, low, up = (TOP + high * (1 - part) for part in (point.y, point.low, point.high))
        radius = 3.0 + 6.0 * math.sqrt(point.weight)
        drawn.append(el("line", x1=x, y1=low, x2=x, y2=up, class_="whisker"))
        drawn.append(el("circle", el("title", point.said), cx=x, cy=y, r=radius))
    drawn += [_label(LEFT + part * wide, TOP + high + 15, f"{part:g}", "middle") for part in (0, 0.25, 0.5, 0.75, 1)]
    drawn.append(_label(LEFT + wide / 2, HEIGHT - 6, below, "middle", "axis"))
    return _svg(title, drawn, HALF)


def _svg(title: str, drawn: Sequence[Html], width: float) -> Html:
    drawn_as = "chart" if width == HALF else "chart whole"
    chart = el(
        "svg", el("title", title), join(drawn), class_=drawn_as, viewBox=f"0 0 {width:g} {HEIGHT:g}", role="img",
        aria_label=title,
    )  # fmt: skip
    # drawn any smaller nobody could read it: on a narrow screen it is moved sideways
    return chart if width == HALF else el("div", chart, class_="wide", tabindex=0, role="region", aria_label=title)


def _rules(top: float, step: float, name: str, width: float) -> Html:
    """Lines across the plot, each with its number, and the name of the axis."""
    high, drawn = HEIGHT - TOP - BOTTOM, []
    for at in range(round(top / step) + 1):
        y = TOP + high * (1 - at * step / top)
        drawn.append(el("line", x1=LEFT, y1=y, x2=width - RIGHT, y2=y, class_="rule" if at else "base"))
        drawn.append(_label(LEFT - 7, y + 3.5, _short(at * step, step), "end"))
    middle = TOP + high / 2
    name_at = el(
        "text", name, x=10, y=middle, text_anchor="middle", class_="axis", transform=f"rotate(-90 10 {middle:g})"
    )
    return join([*drawn, name_at])


def _label(x: float, y: float, said: str, anchor: str, class_: str | None = None) -> Html:
    return el("text", said, x=x, y=y, text_anchor=anchor, class_=class_)


def _scale(most: float) -> tuple[float, float]:
    """The end of an axis from 0 that holds so much, and the step of its lines: 1, 2 or 5 times a power of ten."""
    if most <= 0:
        return 1.0, 1.0
    rough = most / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(n * power for n in (1, 2, 5, 10) if n * power >= rough * 0.999)
    step = max(step, 1.0)
    return math.ceil(most / step - 1e-9) * step, step


def _short(number: float, step: float) -> str:
    """A number on an axis with lines so far apart."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if step >= size:
            return f"{number / size:g} {letter}" if number else "0"
    return f"{number:,.0f}" if step >= 1 else f"{number:g}"
