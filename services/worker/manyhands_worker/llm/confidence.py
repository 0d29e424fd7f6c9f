"""How sure a model was of its answer, by the log-probabilities of its tokens. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, NamedTuple


class Span(NamedTuple):
    """Where a value stands in the content, in characters; ``quoted`` when it stands between quotes, as JSON text."""

    start: int
    end: int
    quoted: bool = False


class _Token(NamedTuple):
    """A token as bytes, where it begins, its probability, and the other tokens that might have stood there."""

    text: bytes
    start: int
    chance: float
    others: Sequence[tuple[bytes, float]]


def exact(content: str, span: Span, listed: Any) -> float | None:
    """The probability of precisely this value: the product over its tokens; None where it cannot be known.

    ``listed`` is ``choices[0].logprobs.content`` of the response. A token that reaches over the value's ends counts.
    """
    tokens = _tokens(content, listed)
    if tokens is None:
        return None
    start, end = _bytes(content, span)
    chances = [token.chance for token in tokens if token.start < end and token.start + len(token.text) > start]
    return min(1.0, math.prod(chances)) if chances else None


def restricted(content: str, span: Span, listed: Any, chosen: str, options: Sequence[str]) -> float | None:
    """The probability of the ``chosen`` option among those that the alternatives show; None where it cannot be known.

    At each token of the value, and the one that ends it, the token that was written and the alternatives that lead to
    the chosen option only have the mass w, those that lead to other options only the mass a; what leads to none, or to
    both, counts for nothing. The confidence is the product of w / (w + a): the model's own distribution restricted to
    the options, as far as the alternatives reach. An option that is never among them has no mass.
    """
    tokens = _tokens(content, listed)
    if tokens is None:
        return None
    start, end = _bytes(content, span)
    raw = content.encode()
    rivals = [_written(option, span.quoted) for option in options if option != chosen]
    ours = _written(chosen, span.quoted)
    confidence, seen = 1.0, False
    for token in tokens:
        if token.start + len(token.text) <= start or token.start >= end + span.quoted:
            continue
        seen = True
        before, prefix = raw[token.start : start], raw[start : token.start]
        ours_has, rivals_have = token.chance, 0.0
        for text, chance in token.others:
            if text == token.text or not text.startswith(before):
                continue
            said = prefix + text[len(before) :]
            for_us = _leads(said, ours, span.quoted)
            for_rivals = any(_leads(said, rival, span.quoted) for rival in rivals)
            if for_us != for_rivals:
                ours_has, rivals_have = ours_has + chance * for_us, rivals_have + chance * for_rivals
        if ours_has + rivals_have <= 0:
            return None
        confidence *= ours_has / (ours_has + rivals_have)
    return confidence if seen else None


def _leads(said: bytes, option: bytes, quoted: bool) -> bool:
    """Whether what is said so far may still become the option, or has become it."""
    if option.startswith(said):
        return True
    return said.startswith(option) and (quoted or not said[len(option) :].strip())


def _written(option: str, quoted: bool) -> bytes:
    """An option as a model writes it; in JSON with the quote that ends it, for else "no" would be in "not sure"."""
    return (json.dumps(option, ensure_ascii=False)[1:] if quoted else option).encode()


def _bytes(content: str, span: Span) -> tuple[int, int]:
    start = len(content[: span.start].encode())
    return start, start + len(content[span.start : span.end].encode())


def _tokens(content: str, listed: Any) -> list[_Token] | None:
    """The tokens, if they are well-formed and make up the content to the byte."""
    try:
        found, at = [], 0
        for entry in listed or ():
            text = _text(entry)
            others = [(_text(other), _chance(other)) for other in entry.get("top_logprobs") or ()]
            found.append(_Token(text, at, _chance(entry), others))
            at += len(text)
        return found if found and b"".join(token.text for token in found) == content.encode() else None
    except (TypeError, ValueError, KeyError, AttributeError):
        return None


def _text(entry: Any) -> bytes:
    # a token may be half a character, which only its bytes can say
    listed = entry.get("bytes")
    return bytes(listed) if isinstance(listed, list) else str(entry["token"]).encode()


def _chance(entry: Any) -> float:
    said = float(entry["logprob"])
    if not said <= 1e-6:  # NaN neither
        raise ValueError("a log-probability is at most 0")
    return math.exp(min(said, 0.0))
