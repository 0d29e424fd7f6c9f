"""A judge that stands for people: each slot of a task goes to another of them, and each of them says it in person."""

from __future__ import annotations

from manyhands.codec import decode
from manyhands.messages import Judgments
from tests.unit.worker.harness import HANDLERS, Results, delivery, pool, suite

CROWD = str(HANDLERS / "crowd.py")


def judged(slot: int) -> dict[str, tuple[list[int], list[str]]]:
    """Who judged which positions of a suite in a slot, and what they said."""
    results = Results()
    with pool(CROWD) as made:
        made.handle([delivery(suite("people", [0, 1, 2], slot=slot))], results.finish)
        (outcome,) = results.wait(1)
    messages = [decode(m.body, m.type, m.content_encoding) for m in outcome.publish]
    assert all(isinstance(message, Judgments) for message in messages)
    return {m.worker: (list(m.positions), list(m.values)) for m in messages if isinstance(m, Judgments)}


def test_a_message_for_each_person() -> None:
    """One suite comes back in as many messages as people judged it, each under its person's id."""
    assert judged(0) == {"ann": ([100, 102], ["yes", "yes"]), "bob": ([101], ["yes"])}


def test_another_slot_is_for_others() -> None:
    """The handler is told the slot, so that nobody is asked twice."""
    assert judged(1) == {"bob": ([100, 102], ["yes", "yes"]), "ann": ([101], ["yes"])}
