"""Who judged, and how good they were: a tally for each judge, and for each of its workers."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any

from manyhands_aggregator.bundle.reading import Line
from manyhands_aggregator.bundle.tally import Share, Tally

COLUMNS = (
    "judge", "worker", "judgments", "errors",
    "gold", "accuracy", "accuracy_low", "accuracy_high",
    "compared", "agreement", "agreement_low", "agreement_high",
    "distance", "seconds", "cost",
)  # fmt: skip


class Voters:
    """Judges and workers as they come; ``numbers`` says that values have a distance and do not simply agree."""

    def __init__(self, *, numbers: bool) -> None:
        self._numbers = numbers
        self.judges: dict[str, Tally] = {}
        self.workers: dict[tuple[str, str], Tally] = {}

    def _of(self, judge: str, worker: str) -> tuple[Tally, Tally]:
        own = self.workers.get((judge, worker))
        if own is None:
            own = self.workers[judge, worker] = Tally()
            self.judges.setdefault(judge, Tally())
        return self.judges[judge], own

    def failed(self, line: Line) -> None:
        """Count a failure."""
        for tally in self._of(line["judge"], line["worker"]):
            tally.errors += 1

    def judged(self, line: Line, right: bool | None, answer: Any, answered: bool) -> None:
        """Count a judgment; ``right`` is None where the truth is not known."""
        value, cost = line["value"], line.get("cost", 0.0)
        for tally in self._of(line["judge"], line["worker"]):
            tally.judgments += 1
            tally.cost += cost
            if right is not None:
                tally.gold += 1
                tally.right += right
            if answered and self._numbers:
                tally.measured += 1
                tally.off += abs(value - answer)
            elif answered:
                tally.compared += 1
                tally.agreed += value == answer

    def worked(self, lines: Sequence[Line]) -> None:
        """Count the working time of a suite's lines; those of one message share its times."""
        for judge, worker, started, finished in dict.fromkeys(
            (line["judge"], line["worker"], line["started"], line["finished"]) for line in lines
        ):
            seconds = max(0.0, finished - started)
            for tally in self._of(judge, worker):
                tally.seconds += seconds

    def csv(self) -> Iterator[bytes]:
        """A line for each worker, in the order of their names."""
        yield _csv(COLUMNS)
        for (judge, worker), tally in sorted(self.workers.items()):
            row = [judge, worker, tally.judgments, tally.errors, *_share(tally.accuracy), *_share(tally.agreement)]
            row += [_said(tally.off / tally.measured if tally.measured else None)]
            yield _csv([*row, _said(tally.seconds), _said(tally.cost)])


def _share(share: Share) -> list[Any]:
    low, high = share.interval or (None, None)
    return [share.whole, *(_said(each) for each in (share.share, low, high))]


def _said(number: float | None) -> str:
    return "" if number is None else f"{number:.6g}"


def _csv(row: Sequence[Any]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(row)
    return text.getvalue().encode()
