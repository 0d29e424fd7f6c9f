"""Who may speak for which judge, where each judge's workers have a user of the broker and the broker vouches for it.

Whoever may publish judgments at all could else publish them in any judge's name, and set any judge's tasks aside.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from manyhands.broker import Delivery
from manyhands.messages import Judgments, Suite

#: Why judgments are set aside that another user sent than the judge's.
FORGED = "forged"


@dataclass(frozen=True, slots=True)
class Senders:
    """``user_of`` gives the user of a judge's workers, None where anybody may be; ``own`` is the aggregator's.

    What the aggregator sends is a dead letter that somebody had replayed.
    """

    user_of: Callable[[str], str | None] = lambda _: None
    own: str | None = None

    def forged(self, message: Judgments, sent: Delivery) -> str | None:
        """Why these judgments are not the judge's, or None when they are."""
        wanted = self.user_of(message.judge)
        if wanted is None or sent.user in (wanted, self.own):
            return None
        return f"of the judge {message.judge}, but sent by {sent.user or 'nobody known'} and not by {wanted}"

    def vouched(self, message: Suite | Judgments, letter: Delivery) -> bool:
        """Whether a dead letter may say of the tasks in it that they have failed.

        One from the queue of judgments bears its sender still. The others bear the judge in their key, and the broker
        lets nobody but the judge's user choose that (see manyhands.permissions).
        """
        wanted = self.user_of(message.judge)
        if wanted is None:
            return True
        match letter.queue.rpartition(".")[2]:
            case "tasks":
                return letter.key == f"tasks.{message.judge}"
            case "judgments":
                return letter.user in (wanted, self.own)
            case "unrouted":
                return letter.key.partition(".")[0] == message.judge
            case _:  # events: no worker may publish any
                return True


#: Where the broker's users say nothing of judges.
ANYBODY = Senders()
