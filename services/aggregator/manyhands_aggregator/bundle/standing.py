"""What was accepted of a bundle's tasks on their way through the plan, computed once more from what it rests on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from manyhands_aggregator.bundle.reading import Line, Suite
from manyhands_aggregator.course import Accepted, Basis, Slot
from manyhands_aggregator.decide import Decision
from manyhands_aggregator.opinions import Compared, believed_then
from manyhands_aggregator.plan import Plan
from manyhands_aggregator.suite import SuiteState
from manyhands_aggregator.voices import Voice, voices

#: What an answer rests on of which an earlier version has recorded nothing but itself.
UNRECORDED = Basis((), ())


def stand(plan: Plan, suite: Suite, state: SuiteState) -> None:
    """Note in the course of a suite what was accepted of its tasks.

    Each answer is computed from the judgments that counted and from what was believed of their voters at that moment.
    It is taken as it stands where neither is on record.

    Raises:
        ValueError: it rests on a judgment that is not there.
    """
    said = voices(state.said)
    for task in suite.tasks:
        if "accepted" in task:
            position = task["position"]
            state.course.accepted[position] = _accepted(plan, task["accepted"], said.get(position, {}), position)


def unrecorded(decision: Decision) -> Iterator[int]:
    """The indices of answers that were taken as they stood, and that nothing has replaced."""
    return (index for index, basis in enumerate(decision.bases or ()) if basis == UNRECORDED)


def _accepted(plan: Plan, record: Line, said: Mapping[Slot, Voice], position: int) -> Accepted:
    if "rests_on" not in record:
        return Accepted(record["value"], record["confidence"], record["votes"], record["stage"] or 0, UNRECORDED)
    slots = tuple((stage, judge, slot) for stage, judge, slot, *_ in record["rests_on"])
    votes = [said.get(slot) for slot in slots]
    there = [vote for vote in votes if vote is not None and vote.failure is None]
    if not there or len(there) < len(votes):
        raise ValueError(f"the answer of position {position} rests on a judgment that is not there")
    rights: list[Any] = [right for *_, right in record["rests_on"] if isinstance(right, float)]
    if rights:
        value, confidence = believed_then(plan, there, rights)
    else:  # all is gone over as a whole, or an earlier version compared values with one another
        value, confidence, _ = Compared(plan).answer(there, position)
    return Accepted(value, confidence, len(there), record["stage"], Basis(slots, tuple(rights) or None))
