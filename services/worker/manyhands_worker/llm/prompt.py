"""What a model is asked: the request's body, from the judge's configuration and a payload. Pure."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from manyhands.errors import RejectTask
from manyhands.spec import Answer, Llm
from manyhands.spec.llm import PLACEHOLDER

#: The key of the answer in the JSON object that a model writes.
KEY = "answer"
#: What servers that do not know it refuse, and what can be done without: the keys of the request, in the order in which
#: they are left out. Without a schema it is any JSON that is asked for, and without that the prompt must do.
OPTIONAL = {
    "logprobs": ("logprobs", "top_logprobs"),
    "schema": ("response_format",),
    "json": ("response_format",),
}
#: Bytes of a token where nobody counts them: more in most languages, so that rather too many tokens are counted.
BYTES = 3
#: Tokens of a picture, likewise.
PICTURE = 1500
#: How the pictures that models see begin.
_PICTURES = {b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpeg", b"GIF8": "gif"}


class Request(NamedTuple):
    """The body of a request, and how many tokens its prompt may have."""

    body: bytes
    tokens: int


class Prompt:
    """Makes the bodies of requests. Payloads are data: nothing in one is ever read as a placeholder."""

    def __init__(self, llm: Llm, question: str, answer: Answer) -> None:
        self._llm, self._answer = llm, answer
        self._texts = {
            "question": question,
            "options": ", ".join(_json(option) for option in answer.options or ()),
            "answer": told(answer, llm.format),
        }
        self._body: dict[str, Any] = {
            "model": llm.model, "temperature": llm.temperature, "max_tokens": llm.max_tokens,
            **({} if llm.seed is None else {"seed": llm.seed}),
            **({"logprobs": True, "top_logprobs": llm.logprobs} if llm.logprobs else {}),
            **response_format(answer, llm.format),
            **llm.extra,
        }  # fmt: skip
        self._body = {key: value for key, value in self._body.items() if value is not None}

    def request(self, payload: Any, without: Collection[str] = ()) -> Request:
        """The request for one task, ``without`` some of what can be done without (see ``OPTIONAL``).

        Raises:
            RejectTask: the payload lacks a field that the prompt names, or has bytes that are neither text nor picture.
        """
        pictures: list[str] = []
        asked = self._filled(self._llm.prompt, payload, pictures)
        parts = [{"type": "text", "text": asked}, *({"type": "image_url", "image_url": {"url": p}} for p in pictures)]
        messages: list[dict[str, Any]] = [{"role": "user", "content": parts if pictures else asked}]
        if self._llm.system is not None:
            messages.insert(0, {"role": "system", "content": self._filled(self._llm.system, payload, [])})
        body = _json({"messages": messages, **self._less(without)}).encode(errors="replace")
        read = len(body) - sum(map(len, pictures))
        return Request(body, -(-read // BYTES) + PICTURE * len(pictures))

    def optional(self, said: str, without: Collection[str]) -> str | None:
        """What a server that ``said`` so may have refused, and can be done without; None if it is nothing of that."""
        there = {
            "logprobs": "logprobs" in self._body,
            "schema": self._llm.format == "schema" and "response_format" not in self._llm.extra,
            "json": self._llm.format != "text" and "response_format" not in self._llm.extra,
        }
        words = {
            "logprobs": ("logprobs",),
            "schema": ("response_format", "schema"),
            "json": ("response_format", "json"),
        }
        return next(
            (one for one in OPTIONAL if one not in without and there[one] and any(w in said for w in words[one])), None
        )

    def _less(self, without: Collection[str]) -> Mapping[str, Any]:
        left = {key: value for key, value in self._body.items() if not any(key in OPTIONAL[w] for w in without)}
        if "schema" in without and "json" not in without and "response_format" not in self._llm.extra:
            left |= response_format(self._answer, "json")
        return left

    def _filled(self, template: str, payload: Any, pictures: list[str]) -> str:
        """The template with what it names; pictures go into the list, since they cannot stand within text."""

        def text(found: re.Match[str]) -> str:
            if found[1] and found[4]:
                return found[0][1:-1]  # {{x}} is {x}
            said = self._texts.get(found[2])
            if said is None:
                value = _field(payload, found[3])
                picture = _picture(value)
                pictures.extend([picture] if picture else [])
                said = "" if picture else shown(value)
            return f"{found[1] or ''}{said}{found[4] or ''}"

        # one pass over the template: what is put in is not looked at again
        return PLACEHOLDER.sub(text, template).strip()


def told(answer: Answer, form: str) -> str:
    """How to answer, in words."""
    options = ", ".join(_json(option) for option in answer.options or ())
    match answer.type:
        case "choice":
            said = f"one of {options}"
        case "choices":
            said = f"a JSON array of those that apply of {options}"
        case "number":
            least = "" if answer.min is None else f" from {answer.min:g}"
            said = f"a number{least}{'' if answer.max is None else f' up to {answer.max:g}'}"
        case "text":
            said = "a text" + ("" if answer.max_length is None else f" of at most {answer.max_length} characters")
        case _:
            schema = "" if answer.json_schema is None else f" that this JSON Schema allows: {_json(answer.json_schema)}"
            said = f"JSON{schema}"
    if form == "text":
        return f"Answer with nothing but {said}."
    if whole(answer):
        return f"Answer with nothing but {said}."
    return f'Answer with nothing but a JSON object {{"{KEY}": …}}; the answer is {said}.'


def whole(answer: Answer) -> bool:
    """Whether the JSON that a model writes is the answer itself: it is an object anyway."""
    return answer.type == "json" and (answer.json_schema or {}).get("type") == "object"


def response_format(answer: Answer, form: str) -> Mapping[str, Any]:
    """The request's key that holds the model to the answer type; empty where it is not to be held."""
    if form == "text":
        return {}
    if form == "json":
        return {"response_format": {"type": "json_object"}}
    if whole(answer):
        schema = dict(answer.json_schema or {})
    else:
        value = _schema(answer)
        definitions: dict[str, Any] = {key: value.pop(key) for key in ("$defs", "definitions") if key in value}
        schema = {
            "type": "object", "properties": {KEY: value}, "required": [KEY], "additionalProperties": False,
            **definitions,
        }  # fmt: skip
    # strict servers take a part of JSON Schema only: what others wrote may have more in it
    named = {"name": KEY, "strict": answer.type != "json", "schema": schema}
    return {"response_format": {"type": "json_schema", "json_schema": named}}


def _schema(answer: Answer) -> dict[str, Any]:
    match answer.type:
        case "choice":
            return {"type": "string", "enum": answer.options}
        case "choices":
            return {"type": "array", "items": {"type": "string", "enum": answer.options}}
        case "number":
            bounds = {"minimum": answer.min, "maximum": answer.max}
            return {"type": "number", **{key: bound for key, bound in bounds.items() if bound is not None}}
        case "text":
            return {"type": "string"}  # its length is told in words: strict servers refuse maxLength
        case _:
            return dict(answer.json_schema or {})


def shown(payload: Any) -> str:
    """A payload as text: text as it is, all else as JSON."""
    if isinstance(payload, str):
        return payload
    try:
        return bytes(payload).decode() if isinstance(payload, (bytes, bytearray)) else _json(payload)
    except (UnicodeDecodeError, TypeError) as error:
        raise RejectTask("a model is shown text or a picture; this payload has bytes that are neither") from error


def _picture(payload: Any) -> str | None:
    """A picture as the URL in which it travels; None for what is none."""
    if not isinstance(payload, (bytes, bytearray)):
        return None
    kind = next((kind for begin, kind in _PICTURES.items() if payload.startswith(begin)), None)
    if payload[:4] == b"RIFF" and payload[8:12] == b"WEBP":
        kind = "webp"
    return kind and f"data:image/{kind};base64,{base64.b64encode(payload).decode()}"


def _field(payload: Any, name: str | None) -> Any:
    if name is None:
        return payload
    if isinstance(payload, Mapping) and name[1:] in payload:
        return payload[name[1:]]
    raise RejectTask(f"the prompt names {{payload{name}}}, which this payload has not")


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
