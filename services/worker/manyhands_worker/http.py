"""A judge behind a URL: a suite is POSTed as JSON, its judgments come back.

Sent: ``{"judge": "name", "tasks": [{"position": 0, "payload": ...}]}``. Answered:
``{"judgments": [{"value": ..., "confidence": 0.9} or {"error": "why"}]}`` in the same order.
"""

from __future__ import annotations

import email.utils
import json
import math
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from manyhands.errors import HandlerError, RejectTask, RetryTask
from manyhands.lean import without
from manyhands_worker.jsonform import judgment, plain
from manyhands_worker.judging import COMMON, NoJudgment, halving

with without("rich"):
    import httpx

#: What says that the request's content is at fault: some task of it, which is then looked for.
CONTENT = frozenset({400, 413, 422})
#: What says that it may be better later, beside every 5xx.
LATER = frozenset({408, 425, 429})
#: The largest answer that is read.
ANSWER_LIMIT = 64 << 20

_NAME = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class Http:
    """Judges by asking a URL; ``patience`` is how long, in seconds, it looks for the task that a server refuses."""

    def __init__(
        self, judge: str, url: str, headers: Mapping[str, str], time_limit: float, patience: float,
        transport: httpx.BaseTransport | None = None,
    ) -> None:  # fmt: skip
        self._judge, self._url, self._limit, self._patience = judge, url, time_limit, patience
        self._client = httpx.Client(
            headers={"content-type": "application/json", **expanded(headers)}, timeout=time_limit, transport=transport
        )

    def __call__(self, positions: Sequence[int], payloads: Sequence[Any]) -> list[Any]:
        """The judgments, or an exception for a task without one."""
        tasks = [
            {"position": position, "payload": payload} for position, payload in zip(positions, payloads, strict=True)
        ]
        # only a refusal of the content is looked into; everything else concerns all tasks alike
        common = (*COMMON, NoJudgment)
        return halving(self._once, tasks, common, time.monotonic() + self._patience)

    def _once(self, tasks: Sequence[Any]) -> list[Any]:
        body = json.dumps({"judge": self._judge, "tasks": tasks}, ensure_ascii=False, default=plain).encode()
        try:
            status, headers, answer = post(self._client, self._url, body, self._limit)
        except httpx.HTTPError as error:
            raise RetryTask(f"{self._url}: {type(error).__name__}: {error}") from error
        if status in LATER or status >= 500:
            after = retry_after(headers.get("retry-after"), time.time())
            raise RetryTask(f"{self._url} answered {status}: {_start(answer)}", after=after)
        if status in CONTENT:
            raise RejectTask(f"{self._url} answered {status}: {_start(answer)}")
        if status >= 300:
            return [RejectTask(f"{self._url} answered {status}: {_start(answer)}")] * len(tasks)
        try:
            said = json.loads(answer)["judgments"]
        except (ValueError, TypeError, KeyError) as error:
            raise NoJudgment(f'{self._url} did not answer {{"judgments": [...]}}: {_start(answer)}') from error
        if not isinstance(said, list) or len(said) != len(tasks):
            count = len(said) if isinstance(said, list) else type(said).__name__
            raise NoJudgment(f"{self._url} answered {count} judgments for {len(tasks)} tasks")
        return [judgment(one) for one in said]

    def close(self) -> None:
        """End the connections."""
        self._client.close()


def post(
    client: httpx.Client, url: str, body: bytes, limit: float, most: int = ANSWER_LIMIT,
    trace: Callable[[str, Mapping[str, Any]], None] | None = None,
) -> tuple[int, Mapping[str, str], bytes]:  # fmt: skip
    """Status, headers and body of the answer to a request, for which there are so many seconds, and so many bytes.

    ``trace`` is told of the steps that httpx takes.

    Raises:
        httpx.HTTPError: there is none in time.
        NoJudgment: it is larger than what is read.
    """
    deadline = time.monotonic() + limit
    chunks, size = [], 0
    with client.stream("POST", url, content=body, extensions={} if trace is None else {"trace": trace}) as response:
        for chunk in response.iter_bytes():
            chunks.append(chunk)
            size += len(chunk)
            # httpx bounds each read, not their sum
            if time.monotonic() > deadline:
                raise httpx.ReadTimeout(f"no whole answer within {limit:g} s")
            if size > most:
                raise NoJudgment(f"{url} answered more than {most:,} bytes")
    return response.status_code, response.headers, b"".join(chunks)


def variables(headers: Mapping[str, str]) -> set[str]:
    """The variables of the environment that headers name."""
    return {name for text in headers.values() for name in _NAME.findall(text)}


def expanded(headers: Mapping[str, str], environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The headers with each ``${NAME}`` taken from the environment.

    Raises:
        HandlerError: there is no such variable.
    """

    def value(match: re.Match[str]) -> str:
        if match[1] not in environ:
            raise HandlerError(f"a header needs the environment variable {match[1]}, which is not set")
        return environ[match[1]]

    return {name: _NAME.sub(value, text) for name, text in headers.items()}


def retry_after(header: str | None, now: float) -> float | None:
    """Seconds to wait by a ``Retry-After`` header: a number, or an HTTP date to be set against ``now``."""
    if not header:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(header).timestamp() - now
        except ValueError:
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _start(answer: bytes) -> str:
    return answer[:200].decode(errors="replace")
