"""The judge of nearly every case does next to nothing, so that what is measured is the way there and back."""

import time

from manyhands import judge

#: The options of the answer, in the job file as here.
OPTIONS = ["long", "short"]


@judge("length")
def length(text: str) -> str:
    """Whether a text is long."""
    return "long" if len(text) > 55 else "short"


#: Seconds that a task of the other judge takes. It needs no processor, so workers do not stand in each other's way.
NAP = 0.01


@judge("nap")
def nap(text: str) -> str:
    """The same after a nap, as if somewhere else a model had thought about it."""
    time.sleep(NAP)
    return length(text)
