"""A handler that stands for many people."""

from manyhands import Judgment, judge
from manyhands.handlers import asked


@judge("people")
def people(payload: int) -> Judgment:
    """Even tasks are Ann's in slot 0 and Bob's in slot 1; odd ones the other way round."""
    return Judgment("yes", worker=("ann", "bob")[(payload + asked().slot) % 2])
