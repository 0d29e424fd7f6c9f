"""Numbers as people read them."""

from __future__ import annotations

from collections.abc import Sequence

from manyhands_aggregator.bundle.tally import Share

#: What stands where there is nothing to say.
NOTHING = "–"


def count(number: int) -> str:
    """A whole number."""
    return f"{number:,}"


def share(part: float | None, digits: int = 1) -> str:
    """A share of 0..1 in per cent; what is not quite all, or next to nothing, is never said to be all or nothing."""
    if part is None:
        return NOTHING
    said = f"{part * 100:.{digits}f}"
    least = 10.0**-digits
    if part < 1 and float(said) == 100:
        return f">{100 - least:.{digits}f} %"
    if part > 0 and float(said) == 0:
        return f"<{least:.{digits}f} %"
    return f"{said} %"


def interval(of: Share) -> str:
    """Where a share lies, at 95 %."""
    found = of.interval
    return NOTHING if found is None else f"{found[0] * 100:.1f}–{found[1] * 100:.1f} %"


def number(value: float | None, digits: int = 3) -> str:
    """A number of so many digits."""
    if value is None:
        return NOTHING
    return f"{value:,.{digits}g}" if abs(value) < 1000 else f"{value:,.0f}"


def money(value: float) -> str:
    """An amount in the unit of the prices."""
    return f"{value:,.2f}" if value >= 1 or value == 0 else f"{value:.4g}"


def seconds(value: float | None) -> str:
    """A duration."""
    if value is None:
        return NOTHING
    if value == 0:
        return "0 s"
    if value < 0.001:
        return f"{value * 1e6:.0f} µs"
    if value < 1:
        return f"{value * 1000:.3g} ms"
    if value < 60:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def plural(number: int, noun: str) -> str:
    """So many of a thing."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def listed(words: Sequence[str]) -> str:
    """Words as a sentence names them."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else ""
