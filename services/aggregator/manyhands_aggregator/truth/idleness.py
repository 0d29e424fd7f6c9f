"""Who does not look at its tasks, and who repeats itself, where judgments are no options: numbers, texts and JSON."""

from __future__ import annotations

import numpy as np

from manyhands_aggregator.truth.attention import SKILLS, weighed
from manyhands_aggregator.truth.ballots import Ballots, Floats, Indices
from manyhands_aggregator.truth.likeness import Alike
from manyhands_aggregator.truth.repetition import Repetition, improbable

#: How often each judgment is put to another task of its worker.
MOVED = 8
#: How many others of its task are asked whether they would have repeated themselves, too.
ASKED = 3


def idleness(ballots: Ballots, alike: Alike, evidence: Floats | None = None) -> Floats:
    """How probable it is of each worker that it does not look at its tasks; (W,), 0..1.

    What is said without looking would do as well at any other of the worker's tasks, whatever it is: always the same,
    or anything. So its judgments are put to other tasks of its own. How often texts agree there is how often they agree
    by chance; one who looks agrees more often. Two numbers that are said idly are in the order in which the others have
    their tasks as often as not; one who looks has them in order, be it on another scale. Where all tasks ask for the
    same, nobody is accused of saying it. The rest is as for options.
    """
    order, begins = ballots.by_worker()
    counts = np.diff(begins)
    start, many = np.repeat(begins[:-1], counts), np.repeat(counts, counts)
    place = np.arange(len(order)) - start
    hits, tries = np.zeros(len(ballots)), np.zeros(len(ballots))  # by row
    for step in range(1, MOVED + 1):
        apart = many * step // (MOVED + 1)
        there = order[start + (place + apart) % many]
        (good,) = np.nonzero((apart > 0) & alike.peers.compared[order] & alike.peers.compared[there])
        fits = alike.fits(order[good], there[good])
        told = ~np.isnan(fits)
        hits[order[good[told]]] += fits[told]
        tries[order[good[told]]] += 1.0
    w, worker = ballots.workers, ballots.worker
    if alike.order:
        (kept,) = np.nonzero(tries)
        ordered, looks = hits[kept] / tries[kept], 2.0 * SKILLS - 1.0

        def logs(look: float) -> Floats:
            return np.asarray(ordered * np.log1p(look) + (1.0 - ordered) * np.log1p(-look) - np.log(2.0))
    else:
        (kept,) = np.nonzero(alike.peers.compared)
        by_chance = (np.bincount(worker, hits, w) + 0.5) / (np.bincount(worker, tries, w) + 1.0)
        chance, agreed, looks = by_chance[worker[kept]], alike.fits(kept, kept), SKILLS
        idly = agreed * chance + (1.0 - agreed) * (1.0 - chance)

        def logs(look: float) -> Floats:
            return np.asarray(np.log(look * agreed + (1.0 - look) * idly))

    return weighed(worker[kept], w, logs, looks, np.zeros(w), evidence)


def repeats(ballots: Ballots) -> Repetition:
    """How often workers repeat themselves, each label being a value; the rows are in the order they were given.

    What is expected is how often others, who judged both of two tasks that a worker judged one after the other, or
    each of whom judged one, said the same of them: sorted tasks and frequent values are no repetition.
    """
    order, begins = ballots.by_worker()
    pairs = np.ones(len(order), bool)
    pairs[begins[:-1][begins[:-1] < len(order)]] = False
    (second,) = np.nonzero(pairs)
    here, before = order[second], order[second - 1]
    by_task, starts = ballots.by_task()
    place = np.empty(len(order), np.intp)
    place[by_task] = np.arange(len(order))
    given = np.diff(starts)

    def other(rows: Indices, step: int) -> Indices:
        task = ballots.task[rows]
        return np.asarray(by_task[starts[task] + (place[rows] - starts[task] + step) % given[task]])

    worker, w = ballots.worker[here], ballots.workers
    n = np.bincount(worker, minlength=w)
    again = np.bincount(worker, ballots.label[here] == ballots.label[before], w)
    alike, asked = np.zeros(w), np.zeros(w)
    for step in range(1, ASKED + 1):
        good = (given[ballots.task[here]] > step) & (given[ballots.task[before]] > step)
        one, two = other(here[good], step), other(before[good], step)
        alike += np.bincount(worker[good], ballots.label[one] == ballots.label[two], w)
        asked += np.bincount(worker[good], minlength=w)
    crowd = (alike.sum() + 1.0) / (asked.sum() + 2.0)  # of few pairs it is as of all
    expected = (alike + 10.0 * crowd) / (asked + 10.0)
    with np.errstate(invalid="ignore"):
        share = again / n
    expected = np.where(n > 0, expected, np.nan)
    return Repetition(share, expected, np.where(asked > 0, improbable(n, share, expected), 1.0))
