"""Every error of the contract, named by what happens to the task or the delivery.

The text of an error is its docstring, written once as a sentence; what is particular to one case is given to the
constructor and follows after a colon.
"""

from __future__ import annotations


class ManyhandsError(Exception):
    """Something went wrong in Manyhands."""

    def __init__(self, detail: str = "") -> None:
        said = (type(self).__doc__ or "").strip().splitlines()[0].rstrip(".")
        super().__init__(f"{said}: {detail}" if detail else f"{said}.")
        self.detail = detail


class RetryTask(ManyhandsError):
    """The task cannot be judged now and is tried again later.

    Raise it in a handler; ``after`` is the least delay in seconds, None leaves it to the retry ladder.
    """

    def __init__(self, detail: str = "", *, after: float | None = None) -> None:
        super().__init__(detail)
        self.after = after


class RejectTask(ManyhandsError):
    """The task can never be judged and is set aside at once.

    Raise it in a handler for an item that no later attempt could judge.
    """


class HandBack(ManyhandsError):
    """The delivery goes back to its queue; it is not its fault.

    Raised by a handler it costs the task no attempt; ``after`` is the least delay in seconds before it comes again.
    """

    def __init__(self, detail: str = "", *, after: float | None = None) -> None:
        super().__init__(detail)
        self.after = after


class DecodeError(ManyhandsError):
    """The body is not a message of this contract.

    It keeps the bytes as they came, so that they can be set aside whole.
    """

    def __init__(self, detail: str, body: bytes) -> None:
        super().__init__(detail)
        self.body = body


class TooLarge(ManyhandsError):
    """The body is over the size limit."""


class SpecError(ManyhandsError):
    """The job file is not right."""


class SettingsError(ManyhandsError):
    """The settings are not right."""


class HandlerError(ManyhandsError):
    """The handlers could not be loaded."""


class SourceError(ManyhandsError):
    """The source cannot be read."""


class BrokerError(ManyhandsError):
    """The broker did not do what it was asked."""


class BrokerUnavailable(BrokerError):
    """The broker cannot be reached."""


class AccessRefused(BrokerUnavailable):
    """The broker does not let this user in."""


class Unroutable(BrokerError):
    """No queue takes the message."""


class Refused(BrokerError):
    """The broker refused the message."""


class TopologyConflict(BrokerError):
    """The broker holds a queue or exchange of this name with other arguments."""


class StoreUnavailable(ManyhandsError):
    """The store cannot be reached."""


class UnknownJob(ManyhandsError):
    """There is no such job."""
