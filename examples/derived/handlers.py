"""A judge of one's own, for the image of three lines beside it."""

from manyhands import Judgment, judge


@judge("length")
def length(text: str) -> Judgment:
    """Short or long: up to twenty characters are short."""
    return Judgment("short" if len(text) <= 20 else "long", confidence=0.9)
