"""The key ``llm`` of the job file: judges that are language models behind an OpenAI-compatible endpoint."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from manyhands.spec.base import Model

#: What a template may name; ``{payload.title}`` is one field of a payload that is a map.
PLACEHOLDER = re.compile(r"\{(\{)?([a-z_]+)(\.[^{}\s]+)?\}(\})?")
NAMES = ("question", "payload", "options", "answer")
#: The prompt where none is given.
PROMPT = "{question}\n\n{payload}\n\n{answer}"
#: Headers that bear a secret, which has no place in a file.
_SECRET = frozenset({"authorization", "proxy-authorization", "api-key", "x-api-key", "cookie"})


class Price(Model):
    """What tokens cost, in the job's money."""

    input: float = Field(ge=0, allow_inf_nan=False, description="A million tokens of prompts.")
    output: float = Field(ge=0, allow_inf_nan=False, description="A million tokens of answers.")


class Llm(Model):
    """A judge that is a language model: one request to an OpenAI-compatible chat endpoint for each task."""

    url: str = Field(
        pattern=r"^https?://", description="The API's base, such as http://127.0.0.1:8080/v1, or its chat/completions."
    )
    model: str = Field(min_length=1, description="The model's name, as the server knows it.")
    api_key_env: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="The environment variable that holds the API key, or with _FILE behind it names a file that does; "
        "none is sent when not given.",
    )
    headers: dict[str, str] = Field(
        default_factory=dict, description="Sent along; ${NAME} is taken from the environment."
    )
    prompt: str = Field(
        default=PROMPT,
        description="What is asked. {question}, {payload} or {payload.FIELD}, {options} and {answer} (how to answer) "
        "are filled in.",
    )
    system: str | None = Field(default=None, description="The system message, with the same placeholders.")
    temperature: float = Field(default=0, ge=0, le=2)
    seed: int | None = Field(default=None, description="For servers that can repeat themselves.")
    max_tokens: int = Field(default=512, ge=1, description="Tokens that an answer may have.")
    format: Literal["schema", "json", "text"] = Field(
        default="schema",
        description="How the answer is held to its type: by a JSON Schema, as any JSON, or not at all.",
    )
    logprobs: int = Field(
        default=5,
        ge=0,
        le=20,
        description="Alternatives to each token that are asked for, for the confidence; 0: none.",
    )
    extra: dict[str, Any] = Field(
        default_factory=dict, description="More keys of the request's body; one that is null is left out of it."
    )
    concurrency: int = Field(default=8, ge=1, le=256, description="Requests at once, of each child process.")
    requests_per_minute: float | None = Field(default=None, gt=0, description="Of one worker, over all its children.")
    tokens_per_minute: float | None = Field(default=None, gt=0, description="Of one worker, over all its children.")
    retries: int = Field(
        default=3, ge=0, le=10, description="Times that a request is sent again before its task fails."
    )
    time_limit: float = Field(default=60, gt=0, description="Seconds for one request.")
    price: Price | None = Field(default=None, description="What tokens cost; without it judgments have no cost.")
    version: str | None = Field(
        default=None, description="Stands in every judgment. Default: the model, and a digest of what it is asked with."
    )

    @field_validator("url")
    @classmethod
    def _no_password(cls, value: str) -> str:
        if urlsplit(value).username is not None:
            raise ValueError("no user or password belongs into it; use api_key_env or headers")
        return value

    @field_validator("headers")
    @classmethod
    def _no_secret(cls, value: dict[str, str]) -> dict[str, str]:
        for name, text in value.items():
            if name.lower() in _SECRET and "${" not in text:
                raise ValueError(
                    f"{name} is secret and does not belong into a file; write ${{NAME}}, or use api_key_env"
                )
        return value

    @field_validator("prompt")
    @classmethod
    def _asks(cls, value: str) -> str:
        _known(value)
        if not any(found[2] == "payload" for found in PLACEHOLDER.finditer(value) if not (found[1] and found[4])):
            raise ValueError("it does not show the task; {payload} or {payload.FIELD} must stand in it")
        return value

    @field_validator("system")
    @classmethod
    def _says(cls, value: str | None) -> str | None:
        return value if value is None else _known(value)

    def version_for(self, question: str, answer: Mapping[str, Any]) -> str:
        """The version: as given, or else one that changes with whatever may change what the model says."""
        if self.version is not None:
            return self.version
        asked = self.model_dump(include={"model", "prompt", "system", "temperature", "seed", "max_tokens", "format"})
        text = json.dumps([asked, self.extra, question, answer], sort_keys=True, default=str)
        return f"{self.model[:80]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _known(template: str) -> str:
    for found in PLACEHOLDER.finditer(template):
        if not (found[1] and found[4]) and (found[2] not in NAMES or (found[3] and found[2] != "payload")):
            known = ", ".join(f"{{{name}}}" for name in NAMES)
            raise ValueError(
                f"{found[0]} means nothing here; known are {known} and {{payload.FIELD}}; {{{{x}}}} is {{x}}"
            )
    return template
