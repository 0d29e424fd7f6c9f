"""JSON Schemas of answers: whoever writes one, and whatever it is asked about, checking it ends soon.

jsonschema by itself fetches what a ``$ref`` names, follows references for as long as there are any, and matches
patterns with an engine that may go back over its tracks for ever. The aggregator checks the answers of all jobs: none
of them may hold up the others.
"""

from __future__ import annotations

import json
import reprlib
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import jsonschema
import referencing
from pydantic_core import SchemaError, SchemaValidator, core_schema

#: How deep a schema may be nested.
DEPTH = 64
#: References that are followed for one value, at most.
REFERENCES = 2_000

_Draft = jsonschema.Draft202012Validator
_Errors = Iterator[jsonschema.ValidationError]


def check(schema: Mapping[str, Any]) -> None:
    """See that it is a schema that :func:`validator` can apply.

    Raises:
        ValueError: it is none, is nested too deep, or has a pattern that cannot be matched in one go.
    """
    if _deeper(schema, DEPTH):
        raise ValueError(f"schema is nested deeper than {DEPTH}")
    formats = jsonschema.FormatChecker(formats=())
    formats.checks("regex", raises=ValueError)(lambda pattern: not isinstance(pattern, str) or bool(_matcher(pattern)))
    try:
        _Draft.check_schema(schema, format_checker=formats)
    except jsonschema.SchemaError as error:
        said = error.cause if isinstance(error.cause, ValueError) else error.message
        raise ValueError(f"schema is no JSON Schema: {said}") from error
    if _has(schema, "patternProperties") and _has(schema, "unevaluatedProperties"):
        raise ValueError(
            "schema: patternProperties beside unevaluatedProperties are not taken; use additionalProperties"
        )


def validator(schema: Mapping[str, Any]) -> Callable[[Any], str | None]:
    """Says of a value what is wrong with it, or None; of plain values that are nested as deep as an answer may be."""
    spent = threading.local()

    def following(keyword: str) -> Callable[..., _Errors]:
        follow = _Draft.VALIDATORS[keyword]

        def errors(within: Any, reference: Any, value: Any, around: Any) -> _Errors:
            spent.references += 1
            if spent.references > REFERENCES:
                raise ValueError(f"more than {REFERENCES:,} references for one value")
            yield from follow(within, reference, value, around) or ()

        return errors

    kind = jsonschema.validators.extend(  # type: ignore[no-untyped-call]  # its stubs leave it out
        _Draft, {**_LINEAR, **{keyword: following(keyword) for keyword in ("$ref", "$dynamicRef")}}
    )
    # a registry of its own, since without one a $ref to a URL would be fetched
    applied = kind(schema, registry=referencing.Registry())

    def wrong(value: Any) -> str | None:
        spent.references = 0
        try:
            found = jsonschema.exceptions.best_match(applied.iter_errors(value))
        except Exception as error:  # noqa: BLE001  a $ref to nowhere or round in circles: the schema's fault, found now
            return f"the schema cannot be applied: {error}"[:300]
        return None if found is None else f"{found.json_path}: {found.message}"[:300]

    return wrong


@lru_cache(256)
def _matcher(pattern: str) -> SchemaValidator:
    """Finds a pattern anywhere in a text, in time linear in its length; the engine is pydantic's, Rust's regex."""
    try:
        return SchemaValidator(core_schema.str_schema(pattern=pattern, strict=True))
    except SchemaError as error:
        said = str(error).strip().splitlines()[-1].strip()
        raise ValueError(
            f"the pattern {pattern!r} cannot be used ({said}); look-around and back-references never"
        ) from error


def _pattern(within: Any, pattern: str, value: Any, _around: Any) -> _Errors:
    if within.is_type(value, "string") and not _matcher(pattern).isinstance_python(value):
        yield jsonschema.ValidationError(f"{reprlib.repr(value)} does not match {pattern!r}")


def _pattern_properties(within: Any, patterns: Mapping[str, Any], value: Any, _around: Any) -> _Errors:
    if within.is_type(value, "object"):
        for pattern, below in patterns.items():
            for name in filter(_matcher(pattern).isinstance_python, value):
                yield from within.descend(value[name], below, path=name, schema_path=pattern)


def _additional_properties(within: Any, below: Any, value: Any, around: Mapping[str, Any]) -> _Errors:
    if not within.is_type(value, "object"):
        return
    named, patterns = around.get("properties", {}), around.get("patternProperties", {})
    for name in value:
        if name in named or any(_matcher(pattern).isinstance_python(name) for pattern in patterns):
            continue
        if below is False:
            said = f"Additional properties are not allowed ({reprlib.repr(name)} was unexpected)"
            yield jsonschema.ValidationError(said)
        else:
            yield from within.descend(value[name], below, path=name)


def _unique_items(within: Any, wanted: bool, value: Any, _around: Any) -> _Errors:
    # by their text, where jsonschema compares each with each
    if wanted and within.is_type(value, "array"):
        seen = {json.dumps(item, sort_keys=True) for item in value}
        if len(seen) < len(value):
            yield jsonschema.ValidationError("an item comes twice")


_LINEAR: dict[str, Callable[..., _Errors]] = {
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
    "uniqueItems": _unique_items,
}


def _deeper(data: Any, depth: int) -> bool:
    below = data.values() if isinstance(data, Mapping) else data if isinstance(data, list | tuple) else ()
    return depth < 0 or any(_deeper(each, depth - 1) for each in below)


def _has(data: Any, key: str) -> bool:
    if isinstance(data, Mapping):
        return key in data or any(_has(each, key) for each in data.values())
    return isinstance(data, list | tuple) and any(_has(each, key) for each in data)
