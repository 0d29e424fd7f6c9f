"""All that is measured of the workers of a job, at once."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from manyhands.spec.quality import Quality
from manyhands_aggregator.truth.attention import attention
from manyhands_aggregator.truth.ballots import Ballots, Floats, Ints
from manyhands_aggregator.truth.copying import Copying, copying
from manyhands_aggregator.truth.copying import alike as copies
from manyhands_aggregator.truth.drift import Drift, drift
from manyhands_aggregator.truth.idleness import idleness, repeats
from manyhands_aggregator.truth.likeness import Alike
from manyhands_aggregator.truth.peers import Peers, peers
from manyhands_aggregator.truth.promotion import promoted
from manyhands_aggregator.truth.repetition import Repetition, repetition
from manyhands_aggregator.truth.reputation import tally
from manyhands_aggregator.truth.speed import Pace, pace
from manyhands_aggregator.truth.verdict import Evidence, Verdict, verdict

#: Who spams with at least this probability does not count for the others when they are measured again.
OUT = 0.6


@dataclass(frozen=True, slots=True)
class Assessment:
    """What was measured of W workers; each column has the shape (W,), and one row as :class:`Evidence` is `of`.

    ``blind``: who cannot see what others said, and so copies nobody: machines.
    """

    judgments: NDArray[np.int64]
    right: Floats
    compared: Floats
    spam: Floats
    pace: Pace
    drift: Drift
    repetition: Repetition
    copying: Copying
    blind: NDArray[np.bool_]
    peers: Peers

    def of(self, worker: int) -> Evidence:
        """What is known of one worker."""
        victim = int(self.copying.victim[worker])
        mutual = victim >= 0 and bool(self.blind[worker] or self.copying.victim[victim] == worker)
        return Evidence(
            judgments=int(self.judgments[worker]),
            compared=float(self.compared[worker]),
            right=float(self.right[worker]),
            spam=float(self.spam[worker]),
            change=float(self.drift.change[worker]),
            deviation=float(self.drift.deviation[worker]),
            pace=float(self.pace.share[worker]),
            repeats=float(self.repetition.share[worker]),
            repeats_expected=float(self.repetition.expected[worker]),
            repeats_chance=float(self.repetition.chance[worker]),
            copies=None if victim < 0 or mutual else victim,
            twin=victim if mutual else None,
        )

    def verdicts(self, rules: Quality) -> list[Verdict]:
        """What is done about each worker."""
        return [verdict(rules, self.of(worker)) for worker in range(len(self.judgments))]


def assess(
    ballots: Ballots,
    seconds: Floats | None = None,
    *,
    gold: Ints | None = None,
    machines: NDArray[np.bool_] | None = None,
    ordered: bool = True,
    rows: int = 1,
) -> Assessment:
    """Measure the workers; the rows are in the order in which they were given, or ``ordered`` is False.

    ``seconds`` (n,): what each judgment took, nan where nobody knows. ``gold`` (T,): the truths that are known, -1
    elsewhere. ``machines`` (W,): who is none of the people; they are as fast as they are, and copy nobody. It is done
    twice: who is found to spam or copy the first time is not among those with whom all are compared the second time;
    then answers beyond doubt are gold, too.
    A judgment of several ``rows``, one for each of its labels, is the evidence of one: theirs is divided among them.
    Time O(n + T K) for most, O(n r) for the pairs of r judgments a task.
    """
    blind = np.zeros(ballots.workers, bool) if machines is None else machines
    fast = _pace(ballots, seconds, blind)
    first = peers(ballots, gold)
    spam = attention(ballots, first, fast.evidence, rows=rows)
    copies = copying(ballots, first, fast.evidence, ordered=ordered, rows=rows)
    voters = (spam < OUT) & ((copies.victim < 0) | blind | (not ordered))
    others = peers(ballots, gold, voters)
    others = peers(ballots, promoted(ballots, others), voters)
    spam = attention(ballots, others, fast.evidence, rows=rows)
    copies = copying(ballots, others, fast.evidence, ordered=ordered, rows=rows)
    right, compared = tally(ballots, others)
    return Assessment(
        judgments=np.bincount(ballots.worker, minlength=ballots.workers) // rows,
        right=right / rows,
        compared=compared / rows,
        spam=spam,
        pace=fast,
        drift=drift(ballots, others, rows=rows) if ordered else _steady(ballots),
        repetition=_repeated(ballots, others, rows) if ordered else _unrepeated(ballots),
        copying=copies,
        blind=blind,
        peers=others,
    )


def compare(
    ballots: Ballots, alike: Alike, seconds: Floats | None = None, *, machines: NDArray[np.bool_] | None = None
) -> Assessment:
    """Measure workers whose judgments are no options, from how far others agree; each label is a value that was said.

    Once, and not twice as options are: medians bear a few spammers.
    """
    blind = np.zeros(ballots.workers, bool) if machines is None else machines
    fast = _pace(ballots, seconds, blind)
    right, compared = tally(ballots, alike.peers)
    return Assessment(
        judgments=np.bincount(ballots.worker, minlength=ballots.workers),
        right=right,
        compared=compared,
        spam=idleness(ballots, alike, fast.evidence),
        pace=fast,
        drift=drift(ballots, alike.peers),
        repetition=repeats(ballots),
        copying=copies(ballots, fast.evidence, right=alike.peers.gold[ballots.task] == ballots.label),
        blind=blind,
        peers=alike.peers,
    )


def _pace(ballots: Ballots, seconds: Floats | None, blind: NDArray[np.bool_]) -> Pace:
    nobody = np.full(len(ballots), math.nan)
    return pace(ballots, nobody if seconds is None else np.where(blind[ballots.worker], math.nan, seconds))


def _steady(ballots: Ballots) -> Drift:
    return Drift(np.zeros(ballots.workers), np.full(ballots.workers, np.inf))


def _repeated(ballots: Ballots, others: Peers, rows: int) -> Repetition:
    if rows == 1:
        return repetition(ballots, others)
    # a judgment's rows lie together, a label each: it repeats itself if all are those of the judgment before
    _, sets = np.unique(ballots.label.reshape(-1, rows), axis=0, return_inverse=True)
    of, by = (column.reshape(-1, rows)[:, 0] for column in (ballots.task // rows, ballots.worker))
    return repeats(Ballots.of(of, by, sets.ravel(), tasks=-(-ballots.tasks // rows), workers=ballots.workers))


def _unrepeated(ballots: Ballots) -> Repetition:
    unknown = np.full(ballots.workers, math.nan)
    return Repetition(unknown, unknown, np.ones(ballots.workers))
