"""One text a task from the texts that workers wrote: the same, the same but for its form, or put together of words."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from manyhands_aggregator.truth import rover as wtn
from manyhands_aggregator.truth.ballots import Floats, Ints
from manyhands_aggregator.truth.plain import plain


@dataclass(frozen=True, slots=True)
class Written:
    """The text of each task, None where nobody judged, and its confidence (T,), 0..1, 0 where nobody judged."""

    texts: list[str | None]
    confidence: Floats


#: The texts that were written for one task, in any order, to the one that is accepted and its confidence.
Rule = Callable[[Sequence[str]], tuple[str, float]]


def written(task: Ints, texts: Sequence[str], *, tasks: int, rule: Rule) -> Written:
    """The text of each of T tasks; ``task`` and ``texts`` (n,) are the judgments, in any order.

    Raises:
        ValueError: the columns differ in length.
    """
    of: defaultdict[int, list[str]] = defaultdict(list)
    for at, text in zip(task.tolist(), texts, strict=True):
        of[at].append(text)
    found: list[str | None] = [None] * tasks
    confidence = np.zeros(tasks)
    for at, said in of.items():
        found[at], confidence[at] = rule(said)
    return Written(found, confidence)


def exact(texts: Sequence[str]) -> tuple[str, float]:
    """The text that most have written, character by character; its confidence is the share of them.

    Of a tie the first in the order of characters wins. One more who writes it never lowers its confidence. Shapes and
    errors: :func:`written`; there must be a text.

    Source: that of the majority, N. de Condorcet, 1785.
    """
    counts = Counter(texts)
    text = min(counts, key=lambda one: (-counts[one], one))
    return text, counts[text] / len(texts)


def normalised(texts: Sequence[str]) -> tuple[str, float]:
    """As :func:`exact`, of texts that are the same in their :func:`plain` form, which most have written as they did.

    Of a tie between plain forms the first in the order of characters wins. One more who writes it never lowers its
    confidence. Shapes and errors: :func:`written`; there must be a text.

    Source: Unicode Standard Annex 15, for the forms.
    """
    forms: defaultdict[str, list[str]] = defaultdict(list)
    for text in texts:
        forms[plain(text)].append(text)
    form = min(forms, key=lambda one: (-len(forms[one]), one))
    return exact(forms[form])[0], len(forms[form]) / len(texts)


def rover(texts: Sequence[str]) -> tuple[str, float]:
    """Every word is put to the vote, in an alignment of all texts: the result may be a text that nobody wrote.

    Words are what spaces are between, and they are the same if they are in their :func:`plain` form; each is written as
    most have written it. The confidence is the mean share of the votes with which words win: how far the texts agree,
    not how likely it is that every word is right; one more who writes it may lay out the words anew, and lower it.
    Shapes and errors: :func:`written`; there must be a text.

    Source: J. G. Fiscus, "A post-processing system to yield reduced word error rates" (ROVER), ASRU 1997.
    """
    spelt: defaultdict[str, list[str]] = defaultdict(list)
    sequences = []
    for text in texts:
        words = []
        for token in text.split():
            word = plain(token) or token  # punctuation that stands alone is a word
            spelt[word].append(token)
            words.append(word)
        sequences.append(words)
    won, share = wtn.vote(wtn.network(wtn.central(sequences)))
    return " ".join(exact(spelt[word])[0] for word in won), share


METHODS: Mapping[str, Rule] = {"exact": exact, "normalised": normalised, "rover": rover}
DEFAULT = "normalised"
