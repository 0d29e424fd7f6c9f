"""Handlers that judge without any trouble."""

from manyhands import Judgment, judge


@judge("echo", version="7")
def echo(payload: object) -> object:
    """The payload itself."""
    return payload


@judge("sure")
def sure(payload: object) -> Judgment:
    """The payload itself, with a confidence."""
    return Judgment(payload, 0.75)


@judge("upper", batch=True)
class Upper:
    """Capital letters, a whole suite at once."""

    def __call__(self, payloads: list[str]) -> list[str]:
        """The payloads in capitals."""
        return [payload.upper() for payload in payloads]
