"""What a model is asked, how its answer is read, how sure it was: by value."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyhands import RejectTask
from manyhands.spec import Answer, Llm
from manyhands_worker.llm.answer import Reply, read
from manyhands_worker.llm.prompt import Prompt, response_format, told
from tests.llm import Token, completion

CHOICE = Answer(type="choice", options=["yes", "no", "not sure"])
CHOICES = Answer(type="choices", options=["cat", "dog"])
NUMBER = Answer(type="number", min=0, max=10)
TEXT = Answer(type="text", max_length=5)
PERSON = Answer.model_validate(
    {"type": "json", "schema": {"type": "object", "properties": {"name": {"$ref": "#/$defs/n"}},
                                "$defs": {"n": {"type": "string"}}}}
)  # fmt: skip
LIST = Answer.model_validate(
    {"type": "json", "schema": {"type": "array", "items": {"$ref": "#/$defs/n"}, "$defs": {"n": {"type": "number"}}}}
)


def asked(prompt: str, payload: Any, answer: Answer = CHOICE, **keys: Any) -> str:
    """The user's message."""
    made = Prompt(Llm(url="http://x", model="m", prompt=prompt, **keys), "Is it {payload}?", answer)
    content: str = json.loads(made.request(payload).body)["messages"][-1]["content"]
    return content


@pytest.mark.parametrize(
    ("prompt", "payload", "content"),
    [
        ("{question} {payload}", "x", "Is it {payload}? x"),
        ("<{payload}>", "味道{question}{{options}}%s$x{0}\\1", "<味道{question}{{options}}%s$x{0}\\1>"),
        ("{options}: {payload}", "x", '"yes", "no", "not sure": x'),
        ('{"text": "{payload}"} {{payload}} {0} { payload }', "x", '{"text": "x"} {payload} {0} { payload }'),
        ('{"a": {payload}} {"a": {"b": 1}}', 3, '{"a": 3} {"a": {"b": 1}}'),
        ("{payload.title}: {payload.body}", {"title": "T", "body": [1, "é"], "more": 0}, 'T: [1, "é"]'),
        ("{payload}", {"a": None}, '{"a": null}'),
        ("{payload}", "bytes in UTF-8: é".encode(), "bytes in UTF-8: é"),
    ],
)
def test_prompts(prompt: str, payload: Any, content: str) -> None:
    """Placeholders are filled in once: braces of a payload, or of JSON in the prompt, are what they are."""
    assert asked(prompt, payload) == content


@given(st.text())
def test_a_payload_is_data(payload: str) -> None:
    """Whatever stands in it, it stands in the prompt as it is."""
    assert asked("<{payload}>{answer}", payload) == f"<{payload.encode(errors='replace').decode()}>" + told(
        CHOICE, "schema"
    )


@pytest.mark.parametrize(("prompt", "payload"), [
    ("{payload.body}", {"title": "T"}), ("{payload.body}", "text"), ("{payload}", b"\xff\x00"),
    ("{payload}", {"scan": b"\xff"}),
])  # fmt: skip
def test_payloads_that_cannot_be_shown(prompt: str, payload: Any) -> None:
    """They are set aside at once: no later attempt could show them."""
    with pytest.raises(RejectTask, match=r"which this payload has not|shown text or a picture"):
        asked(prompt, payload)


@pytest.mark.parametrize(
    ("picture", "kind"),
    [
        (b"\x89PNG\r\n\x1a\nrest", "png"), (b"\xff\xd8\xff\xe0rest", "jpeg"), (b"GIF89arest", "gif"),
        (b"RIFF\x01\x02\x03\x04WEBPrest", "webp"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("field", [None, "scan"])
def test_pictures(picture: bytes, kind: str, field: str | None) -> None:
    """They stand beside the text, and count as so many tokens whatever their bytes."""
    prompt = Prompt(Llm(url="http://x", model="m", prompt=f"Look: {{payload{f'.{field}' if field else ''}}}"), "", TEXT)
    picture += bytes(100_000)
    request = prompt.request({field: picture, "name": "x"} if field else picture)
    content = json.loads(request.body)["messages"][0]["content"]
    url = f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"
    assert content == [{"type": "text", "text": "Look:"}, {"type": "image_url", "image_url": {"url": url}}]
    assert 1500 < request.tokens < 2500


@pytest.mark.parametrize(
    ("answer", "value", "wrong"),
    [(CHOICE, "not sure", "maybe"), (CHOICES, ["cat"], ["cow"]), (NUMBER, 3.5, 11), (TEXT, "abc", 3),
     (PERSON, {"name": "A"}, {"name": 1}), (LIST, [1], ["a"])],
)  # fmt: skip
def test_types_and_schemas(answer: Answer, value: Any, wrong: Any) -> None:
    """What is asked for allows answers of the type and no others, and is read as that value; in each of the forms."""
    schema = response_format(answer, "schema")["response_format"]["json_schema"]["schema"]
    jsonschema.Draft202012Validator.check_schema(schema)
    direct = answer is PERSON
    jsonschema.validate(value if direct else {"answer": value}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong if direct else {"answer": wrong}, schema)
    said = json.dumps(value if direct else {"answer": value})
    for form in ("schema", "json"):
        assert read(completion(f"\n {said} ").body, answer, form, 1).value == value
    plain = value if isinstance(value, str) else json.dumps(value)
    assert read(completion(f" {plain}\n").body, answer, "text", 1).value == value
    assert response_format(answer, "json") == {"response_format": {"type": "json_object"}}
    assert response_format(answer, "text") == {}


@pytest.mark.parametrize(
    ("answer", "form", "said"),
    [
        (CHOICE, "text", 'Answer with nothing but one of "yes", "no", "not sure".'),
        (NUMBER, "text", "Answer with nothing but a number from 0 up to 10."),
        (TEXT, "json", 'Answer with nothing but a JSON object {"answer": …}; the answer is a text of at most 5 '
                       "characters."),
        (CHOICES, "schema", 'Answer with nothing but a JSON object {"answer": …}; the answer is a JSON array of those '
                            'that apply of "cat", "dog".'),
        (PERSON, "json", 'Answer with nothing but JSON that this JSON Schema allows: {"type": "object", "properties": '
                         '{"name": {"$ref": "#/$defs/n"}}, "$defs": {"n": {"type": "string"}}}.'),
    ],
)  # fmt: skip
def test_how_to_answer(answer: Answer, form: str, said: str) -> None:
    """In words that fit the type and the form."""
    assert told(answer, form) == said


def sure(tokens: list[Token], answer: Answer = CHOICE, form: str = "schema") -> float | None:
    """The confidence of an answer of these tokens."""
    content = "".join(text for text, _, _ in tokens)
    reply = read(completion(content, tokens=tokens).body, answer, form, 1)
    assert reply.error is None
    return reply.confidence


OPEN: Token = ('{"answer": "', 1.0, {})
CLOSE: Token = ('"}', 1.0, {})
POSSIBLE = Answer(type="choice", options=["possible", "positive", "negative"])


@pytest.mark.parametrize(
    ("tokens", "answer", "form", "confidence"),
    [
        # 0.6 for yes, 0.2 for no; what leads to none of the options counts for nothing
        ([OPEN, ("yes", 0.6, {"no": 0.2, "Yes": 0.1, "maybe": 0.1}), CLOSE], CHOICE, "schema", 0.6 / 0.8),
        # "pos" leads to two options and decides nothing yet; then "itive" has 0.7 and "sible" 0.2
        ([OPEN, ("pos", 0.9, {"neg": 0.1}), ("itive", 0.7, {"sible": 0.2, "e": 0.1}), CLOSE], POSSIBLE, "schema",
         0.9 / 1.0 * 0.7 / 0.9),
        # the chosen option in another spelling of tokens is the chosen option
        ([OPEN, ("neg", 0.6, {"ne": 0.2, "pos": 0.2}), ("ative", 1.0, {}), CLOSE], POSSIBLE, "schema", 0.8),
        # "no" ends where "not sure" would go on: the closing quote says which
        ([OPEN, ("no", 0.5, {"yes": 0.5}), ('"}', 0.6, {"t": 0.3, "pe": 0.1}), ], CHOICE, "schema", 0.5 * 0.6 / 0.9),
        # tokens that begin before the value, and end behind it
        ([('{"answer":', 1.0, {}), (' "yes"}', 0.5, {' "no"}': 0.25, ' "': 0.1, "yes": 0.1})], CHOICE, "schema", 2 / 3),
        ([(" yes", 0.5, {" no": 0.3, "\n": 0.1}), ("\n", 0.1, {" please": 0.9})], CHOICE, "text", 0.5 / 0.8),
        # no alternatives at all: nothing speaks against it
        ([OPEN, ("yes", 0.5, {}), CLOSE], CHOICE, "schema", 1.0),
        # types without options: the product over the value's tokens
        ([('{"answer": ', 0.9, {}), ("4", 0.5, {"5": 0.5}), (".2", 0.4, {}), ("}", 0.3, {})], NUMBER, "schema", 0.2),
        ([OPEN, ("ab", 0.5, {}), ("c", 0.5, {}), CLOSE], TEXT, "schema", 0.25),
        ([('{"answer": ', 0.9, {}), ('["cat"]', 0.5, {}), ("}", 0.3, {})], CHOICES, "schema", 0.5),
        ([("4", 0.5, {}), ("\n", 0.1, {})], NUMBER, "text", 0.5),
        ([('{"name":', 0.5, {}), ('"A"}', 0.5, {})], PERSON, "schema", 0.25),
    ],
)  # fmt: skip
def test_confidence(tokens: list[Token], answer: Answer, form: str, confidence: float) -> None:
    """Worked by hand."""
    assert sure(tokens, answer, form) == pytest.approx(confidence)


def entry(raw: bytes, chance: float, others: Mapping[bytes, float]) -> dict[str, Any]:
    """A token that is no text by itself."""
    tops = [{"token": "?", "bytes": list(o), "logprob": math.log(c)} for o, c in {raw: chance, **others}.items()]
    return {**tops[0], "top_logprobs": tops}


def test_tokens_that_are_half_a_character() -> None:
    """Their bytes say what they are."""
    answer = Answer(type="choice", options=["好评", "差评"])
    good, bad = "好评".encode(), "差评".encode()
    response = json.loads(completion('{"answer": "好评"}').body)
    response["choices"][0]["logprobs"] = {
        "content": [
            entry(b'{"answer": "', 1, {}), entry(good[:2], 0.6, {bad[:2]: 0.2, bad[:1]: 0.1}), entry(good[2:], 1, {}),
            entry(b'"}', 1, {}),
        ]
    }  # fmt: skip
    assert read(json.dumps(response).encode(), answer, "schema", 1).confidence == pytest.approx(0.75)


@pytest.mark.parametrize(
    "listed",
    [
        None, [], "x", [{}], [None], [{"token": "other text", "logprob": -1}], [{"token": '{"answer": "yes"}'}],
        [{"token": '{"answer": "yes"}', "logprob": "x"}], [{"token": '{"answer": "yes"}', "logprob": math.nan}],
        [{"token": '{"answer": "yes"}', "logprob": 3}], [{"token": '{"answer": "yes"}', "logprob": -1, "bytes": [999]}],
        [{"token": '{"answer": "yes"}', "logprob": -1, "top_logprobs": [3]}],
        [{"token": '{"answer": "yes"}', "logprob": -1e9, "top_logprobs": []}],
    ],
)  # fmt: skip
def test_no_confidence(listed: Any) -> None:
    """Without log-probabilities, or with some that do not fit the content, there is a value and no confidence."""
    response = json.loads(completion('{"answer": "yes"}').body)
    for logprobs in ({"content": listed}, listed):
        response["choices"][0]["logprobs"] = logprobs
        assert read(json.dumps(response).encode(), CHOICE, "schema", 1) == Reply(value="yes", input=100, output=10)


def test_what_json_can_say_and_utf8_cannot() -> None:
    """Half a surrogate pair is a value like another here; whoever sends it finds that it cannot travel."""
    said = completion('{"answer": "\\ud800"}', tokens=[('{"answer": "\\ud800"}', 1, {})])
    assert read(said.body, TEXT, "schema", 1).value == "\ud800"
