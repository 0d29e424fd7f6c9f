"""The judge of every case: it does next to nothing, so that what is measured is the way there and back."""

from manyhands import judge

#: The options of the answer, in the job file as here.
OPTIONS = ["long", "short"]


@judge("length")
def length(text: str) -> str:
    """Whether a text is long."""
    return "long" if len(text) > 55 else "short"
