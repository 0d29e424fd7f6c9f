"""Manyhands: one big job into many small tasks, and one answer for every task.

A handler author needs nothing but these names::

    from manyhands import judge, Judgment

    @judge("sentiment", version="3")
    def sentiment(text: str) -> Judgment:
        return Judgment("positive", confidence=0.9)
"""

from manyhands.errors import RejectTask, RetryTask
from manyhands.handlers import Judgment, judge

__version__ = "0.1.0"
__all__ = ["Judgment", "RejectTask", "RetryTask", "__version__", "judge"]
