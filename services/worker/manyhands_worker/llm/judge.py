"""The judge: a request for each task of a suite, several at once; one bad task never costs another."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

from manyhands.clock import Clock, SystemClock
from manyhands.errors import HandBack, ManyhandsError, RejectTask
from manyhands.handlers import Judgment, asked
from manyhands.spec import Answer, Llm
from manyhands_worker.llm.answer import Reply, read
from manyhands_worker.llm.client import BARRED, Client, Declined, Misconfigured, Trouble
from manyhands_worker.llm.prompt import Prompt

#: Tasks in a row that failed because the server did not answer, after which the others of a suite are not asked.
GIVE_UP = 5
#: Part of the time for a suite that one request may take: it may be the last, and httpx may take twice as long.
REQUEST = 0.4
#: Jobs of which it is remembered what they still owe.
JOBS = 100


@dataclass(slots=True)
class _Suite:
    """A suite while it is judged: ``until`` when requests are begun, and ``over`` is why no more of them are."""

    until: float
    over: ManyhandsError | None = None
    owed: float = 0.0
    row: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answered(self, owed: float | None = None) -> None:
        """The server is there; it may want money for what is no judgment."""
        with self.lock:
            self.row = 0
            self.owed += owed or 0.0

    def unanswered(self, trouble: Trouble) -> None:
        """It is not. After a while nobody else is asked, and to be not asked is no task's fault."""
        with self.lock:
            self.row += 1
            if self.row >= GIVE_UP and self.over is None:
                self.over = HandBack(f"{self.row} tasks in a row were not answered; {trouble.detail}")


class LlmJudge:
    """Judges by asking a model, for ``patience`` seconds a suite; tasks whose turn does not come go back.

    ``share`` is the part of the worker's rate limits that this process may use.
    """

    def __init__(
        self, name: str, llm: Llm, question: str, answer: Answer, *, share: float, patience: float,
        clock: Clock | None = None, sleep: Callable[[float], object] | None = None,
    ) -> None:  # fmt: skip
        self._llm, self._answer, self._patience = llm, answer, patience
        self._clock = clock or SystemClock()
        self._prompt = Prompt(llm, question, answer)
        limit = min(llm.time_limit, patience * REQUEST)
        self._longest = patience + 2 * limit
        self._stopping = threading.Event()
        sleep = sleep or self._stopping.wait
        self._client = Client(name, llm, share=share, time_limit=limit, clock=self._clock, sleep=sleep)
        self._without: frozenset[str] = frozenset()
        self._threads = ThreadPoolExecutor(llm.concurrency, thread_name_prefix=name)
        self._lock = threading.Lock()
        self._used = {"requests": 0.0, "input": 0.0, "output": 0.0, "cost": 0.0}
        self._owed: dict[str, float] = {}

    def __call__(self, _positions: Sequence[int], payloads: Sequence[Any]) -> list[Any]:
        """The judgments, or an exception for a task without one."""
        suite = _Suite(self._clock.monotonic() + self._patience, self._client.barred())
        requests = [self._threads.submit(self._one, payload, suite) for payload in payloads]
        if wait(requests, self._longest).not_done:
            self._client.cut()
        said = [request.result() for request in requests]
        # replies without a value have been paid for, too, and only a judgment can say what it cost: all of the
        # suite do, or else those of a later suite of the same job, lest one of them looks dear
        job = asked().job
        owed = self._owed.pop(job, 0.0) + suite.owed
        if not owed:
            return said
        judged = sum(isinstance(one, Judgment) for one in said)
        if judged:
            return [
                one._replace(cost=(one.cost or 0.0) + owed / judged) if isinstance(one, Judgment) else one
                for one in said
            ]
        while len(self._owed) >= JOBS:
            self._owed.pop(next(iter(self._owed)))
        self._owed[job] = owed
        return said

    def _one(self, payload: Any, suite: _Suite) -> Judgment | Exception:
        if suite.over is not None:
            return suite.over
        try:
            reply = self._ask(payload, suite.until)
        except (Misconfigured, Declined) as error:
            suite.over = HandBack(error.detail, after=BARRED)
            return error
        except Trouble as error:
            suite.unanswered(error)
            return error
        except RejectTask as error:
            suite.answered()
            return error
        except Exception as error:  # noqa: BLE001  it is this task's alone, and must not end the others
            return error
        cost = self._count(reply)
        suite.answered(owed=cost if reply.error is not None else None)
        return reply.error or Judgment(reply.value, reply.confidence, cost)

    def _ask(self, payload: Any, until: float) -> Reply:
        """The reply to a request, without what the server refuses of it and can be done without."""
        without = self._without
        while True:
            body, tokens = self._prompt.request(payload, without)
            try:
                reply = self._client.ask(
                    body, tokens + self._llm.max_tokens, until,
                    lambda answer, asked=tokens: read(answer, self._answer, self._llm.format, asked),  # type: ignore[misc]
                )  # fmt: skip
            except RejectTask as error:
                less = self._prompt.optional(error.detail, without)
                if less is None:
                    raise
                without |= {less}
            else:
                self._without = without
                return reply

    def _count(self, reply: Reply) -> float | None:
        price = self._llm.price
        cost = None if price is None else (reply.input * price.input + reply.output * price.output) / 1e6
        with self._lock:
            for what, amount in (("requests", 1), ("input", reply.input), ("output", reply.output), ("cost", cost)):
                self._used[what] += amount or 0.0
        return cost

    def used(self) -> dict[str, float]:
        """Requests answered, tokens of prompts and answers, and money, since it was last asked."""
        with self._lock:
            used, self._used = self._used, dict.fromkeys(self._used, 0.0)
        return used

    @property
    def trouble(self) -> str:
        """Why it can judge nothing at present; empty when it can."""
        return self._client.trouble

    def hurry(self) -> None:
        """Finish the requests that are under way, and begin no more; for good."""
        self._client.stop()
        self._stopping.set()

    def close(self) -> None:
        """End threads and connections."""
        self._threads.shutdown(cancel_futures=True)
        self._client.close()
