"""What a model has answered: the response's body, read strictly. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from manyhands.errors import ManyhandsError, RejectTask
from manyhands.spec import Answer
from manyhands_worker.judging import NoJudgment
from manyhands_worker.llm.confidence import Span, exact, restricted
from manyhands_worker.llm.prompt import BYTES, KEY, whole

#: Tokens of one request that cannot be.
MOST = 1 << 31


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a request led to: a judgment's value and confidence or why there is none, and the tokens it took."""

    value: Any = None
    confidence: float | None = None
    error: ManyhandsError | None = None
    input: int = 0
    output: int = 0


def read(body: bytes, answer: Answer, form: str, asked: int) -> Reply:
    """The reply in a response's body; ``asked`` is how many tokens the prompt had, if the server does not say."""
    try:
        said = json.loads(body)
        (choice, *_), usage = said["choices"], said.get("usage")
        message = choice["message"]
        content, refusal = message.get("content"), message.get("refusal")
        if not isinstance(content, str | None):
            raise TypeError
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return Reply(error=NoJudgment(f"the server did not answer as a chat endpoint does: {_start(body)}"))
    tokens = _tokens(usage, asked, len((content or "").encode(errors="replace")))
    reply = Reply(input=tokens[0], output=tokens[1])
    finish = choice.get("finish_reason")
    error: ManyhandsError | None = None
    if refusal or finish == "content_filter":
        error = RejectTask(f"the model refuses: {str(refusal or finish)[:200]}")
    elif finish == "length":
        error = NoJudgment("the answer was cut off at max_tokens")
    elif not content or not content.strip():
        error = NoJudgment("the model's answer is empty")
    if error is not None or content is None:
        return replace(reply, error=error)
    try:
        value, span = _value(content, answer, form)
    except (ValueError, RecursionError) as failed:
        return replace(reply, error=NoJudgment(f"the model did not answer as asked ({failed}): {content[:200]}"))
    logprobs = (choice.get("logprobs") or {}) if isinstance(choice, dict) else {}
    listed = logprobs.get("content") if isinstance(logprobs, dict) else None
    if answer.type == "choice" and value in (answer.options or ()):
        confidence = restricted(content, span, listed, value, answer.options or ())
    else:
        confidence = exact(content, span, listed)
    return replace(reply, value=value, confidence=confidence)


def _value(content: str, answer: Answer, form: str) -> tuple[Any, Span]:
    """The answer's value and where it stands in the content.

    Raises:
        ValueError: it is not in the form that was asked for. Whether it is an answer of the job is not looked at.
    """
    text = content.strip()
    start = content.index(text)
    everything = Span(start, start + len(text))
    if form == "text":
        if answer.type in ("choice", "text"):
            return text, everything
        try:
            return json.loads(text), everything  # a number is written as in JSON
        except (ValueError, RecursionError):
            return text, everything  # which is none of the job's answers, and so is told by the one who checks them
    said = json.loads(text)
    if whole(answer):
        return said, everything
    if not isinstance(said, dict) or set(said) != {KEY}:
        raise ValueError(f'an object with "{KEY}" alone is expected')
    begin = content.index(":", content.index(f'"{KEY}"')) + 1
    while content[begin].isspace():
        begin += 1
    value, end = json.JSONDecoder().raw_decode(content, begin)
    if isinstance(value, str):  # within its quotes
        return value, Span(begin + 1, end - 1, quoted=True)
    return value, Span(begin, end)


def _tokens(usage: Any, asked: int, answered: int) -> tuple[int, int]:
    found = usage if isinstance(usage, dict) else {}
    sent, came = found.get("prompt_tokens"), found.get("completion_tokens")
    if type(sent) is int and type(came) is int and 0 <= sent < MOST and 0 <= came < MOST:
        return sent, came
    return asked, -(-answered // BYTES)


def _start(body: bytes) -> str:
    return body[:200].decode(errors="replace")
