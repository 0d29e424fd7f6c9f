"""ROVER: sequences are aligned, one after the other, into a network of slots, and each slot is put to the vote.

Source: J. G. Fiscus, "A post-processing system to yield reduced word error rates: Recognizer Output Voting Error
Reduction (ROVER)", IEEE Workshop on Automatic Speech Recognition and Understanding (1997) 347-354.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

#: Stands in a slot for those who have no word there.
NOTHING = ""
#: The words that stand at one place, and how many sequences have each.
Slot = Counter[str]


def network(sequences: Sequence[Sequence[str]]) -> list[Slot]:
    """The word transition network of sequences of words that are not empty, in the order given.

    Each is aligned with the network of those before it at the least cost: 0 where a slot has the word, 1 for another
    word, for a word between slots, and for a slot without a word unless somebody has none there. Of equal costs a word
    in a slot goes before a slot without, and that before a word between slots. Time O(words x slots) for each.
    """
    slots: list[Slot] = [Counter([word]) for word in sequences[0]] if sequences else []
    for joined, words in enumerate(sequences[1:], start=1):
        slots = _join(slots, words, joined)
    return slots


def vote(slots: Sequence[Slot]) -> tuple[list[str], float]:
    """The words that win their slots, and the mean share of the votes that they, or no word, win with; 0..1.

    Of a tie the longer word wins, then the later in the order of characters. Without a slot the share is 1.
    """
    won = [max(slot.items(), key=lambda item: (item[1], len(item[0]), item[0])) for slot in slots]
    shares = [count / slot.total() for slot, (_, count) in zip(slots, won, strict=True)]
    return [word for word, _ in won if word != NOTHING], sum(shares) / len(shares) if shares else 1.0


def central(sequences: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    """The sequences in an order that does not depend on the one given: first those that share most with the others.

    The first lays out the slots, so it had better be a good one: by the share of its words that others have too (twice
    the words in common by the words of both), then by the words themselves.
    """
    bags = [Counter(words) for words in sequences]

    def alike(one: int) -> float:
        return sum(
            2 * (bags[one] & bag).total() / max(bags[one].total() + bag.total(), 1)
            for other, bag in enumerate(bags)
            if other != one
        )

    order = sorted(range(len(sequences)), key=lambda at: (-round(alike(at), 9), list(sequences[at])))
    return [sequences[at] for at in order]


def _join(slots: Sequence[Slot], words: Sequence[str], joined: int) -> list[Slot]:
    """The network with one more sequence; ``joined`` are in it already."""
    skips = [0 if NOTHING in slot else 1 for slot in slots]
    row = [0]
    for _ in slots:
        row.append(len(row))
    moves: list[list[int]] = []  # 0: the word is in the slot's place; 1: the slot has no word; 2: the word has no slot
    for i, word in enumerate(words, start=1):
        last, row, how = row, [i], []
        for j, slot in enumerate(slots):
            best, move = last[j] + (word not in slot), 0
            if (skip := row[j] + skips[j]) < best:
                best, move = skip, 1
            if (between := last[j + 1] + 1) < best:
                best, move = between, 2
            row.append(best)
            how.append(move)
        moves.append(how)
    found: list[Slot] = []
    i, j = len(words), len(slots)
    while i or j:
        move = 1 if i == 0 else 2 if j == 0 else moves[i - 1][j - 1]
        slot = Counter({NOTHING: joined}) if move == 2 else Counter(slots[j - 1])
        slot[NOTHING if move == 1 else words[i - 1]] += 1
        found.append(slot)
        i, j = i - (move != 1), j - (move != 2)
    return found[::-1]
