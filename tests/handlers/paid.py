"""A handler that costs money."""

import os

from manyhands import Judgment, RejectTask, judge


@judge("paid")
def paid(payload: object) -> Judgment:
    """The payload itself, for money; what is nothing is no judgment, and one payload ends the child."""
    if payload == "exit":
        os._exit(3)
    if payload is None:
        raise RejectTask("worth nothing")
    return Judgment(payload, cost=0.25)
