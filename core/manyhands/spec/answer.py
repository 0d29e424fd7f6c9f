"""What an answer may be."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, ValidationInfo, model_validator

from manyhands import jsonschemas
from manyhands.spec.base import RECEIVED, Model


def _word(value: object) -> object:
    """Options may be written without quotes: 0 and 1 mean "0" and "1"."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Option = Annotated[str, BeforeValidator(_word, json_schema_input_type=str | int)]


class Answer(Model):
    """What an answer may be."""

    type: Literal["choice", "choices", "number", "text", "json"]
    options: list[Option] | None = Field(default=None, description="For choice and choices: what may be chosen.")
    min: float | None = Field(default=None, description="For number: the least value.")
    max: float | None = Field(default=None, description="For number: the greatest value.")
    max_length: int | None = Field(default=None, ge=1, description="For text: the most characters.")
    json_schema: dict[str, Any] | None = Field(
        default=None, alias="schema", description="For json: a JSON Schema (2020-12)."
    )

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    @model_validator(mode="after")
    def _fits_type(self, info: ValidationInfo) -> Answer:
        if (self.type in ("choice", "choices")) != (self.options is not None):
            raise ValueError("options belong to the types choice and choices, which need them")
        if self.options is not None and (len(set(self.options)) != len(self.options) or not self.options):
            raise ValueError("options must differ from one another, and there must be at least one")
        if self.type != "number" and (self.min is not None or self.max is not None):
            raise ValueError("min and max belong to the type number")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("min must not be greater than max")
        if self.type != "text" and self.max_length is not None:
            raise ValueError("max_length belongs to the type text")
        if self.type != "json" and self.json_schema is not None:
            raise ValueError("schema belongs to the type json")
        if self.json_schema is not None and info.context != RECEIVED:
            jsonschemas.check(self.json_schema)
        return self
