"""The job file: what it may say, and errors that name the file, the line, the key and what was expected."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import msgpack
import pytest
from ruamel.yaml import YAML

from manyhands import spec
from manyhands.errors import SpecError
from manyhands.spec import JobSpec, StageJudge

GOOD = """\
name: digits
source: {path: digits.jsonl, id: number, input: pixels}
question: Which digit is it?
answer: {type: choice, options: [0, 1, 2]}
stages:
  - judges: [svm, {forest: 3}, {judge: near, judgments: 2, weight: 0.5}]
gold: {column: digit}
"""
LLM = "llm: {m: {url: 'http://x', model: m, "
PLAIN: dict[str, Any] = {"name": "j", "answer": {"type": "text"}, "stages": [{"judges": ["a"]}]}


def load(folder: Path, text: str) -> JobSpec:
    """A job file with this text."""
    file = folder / "job.yaml"
    file.write_text(text, encoding="utf-8")
    return spec.load(file)


def refused(folder: Path, text: str) -> str:
    """What is said of a job file that is not right, without its folder."""
    with pytest.raises(SpecError) as caught:
        load(folder, text)
    return caught.value.detail.replace(f"{folder}/", "")


def with_(**changes: Any) -> dict[str, Any]:
    """A plain job with some keys changed."""
    return PLAIN | changes


def test_good(tmp_path: Path) -> None:
    """A job file, with the short forms of judges and options written out."""
    job = load(tmp_path, GOOD)
    assert job.answer.options == ["0", "1", "2"]
    assert job.judges == [
        StageJudge(judge="svm"),
        StageJudge(judge="forest", judgments=3),
        StageJudge(judge="near", judgments=2, weight=0.5),
    ]
    assert job.decide_by == "majority"
    assert job.source is not None
    assert job.source.on_bad_row == "stop"


def test_a_later_version_may_know_more() -> None:
    """What another process sent or stored is read for what is known of it; what a user writes is not."""
    plain: dict[str, Any] = {"name": "job", "answer": {"type": "text"}, "stages": [{"judges": ["j"]}]}
    later = plain | {"answer": {"type": "text", "later": 1}, "later": {"of": []}}
    assert spec.received(later) == spec.received(json.dumps(later)) == spec.parse(plain)
    with pytest.raises(SpecError, match="later"):
        spec.parse(later)
    with pytest.raises(SpecError, match="answer"):
        spec.received({"name": "job"})


PLAN = """\
stages:
  - judges: [svm]
    accept: {confidence: 0.98}
  - judges: [forest, near]
    accept: {confidence: 0.95}
  - judges: [{judge: people, judgments: 2, price: 0.05}]
    accept: {confidence: 0.95, at_most: 5}
budget: 20
gold:
"""


def test_a_cascade(tmp_path: Path) -> None:
    """Several stages with their rules, people among the judges, and a budget; the strongest method for choices."""
    text = GOOD[: GOOD.index("stages:")] + PLAN.replace("gold:", "gold: {column: digit}")
    job = load(tmp_path, text)
    assert [stage.judgments for stage in job.stages] == [1, 2, 2]
    assert [stage.accept and stage.accept.at_most for stage in job.stages] == [None, None, 5]
    assert job.judge_names == ["svm", "forest", "near", "people"]
    assert (job.cascades, job.decide_by, job.budget) == (True, spec.STRONGEST, 20)
    assert spec.parse(job.plain()) == job


def test_the_digest_of_a_job_of_one_stage_stays() -> None:
    """What earlier versions took has the digest that it had with them: keys that came since are left out."""
    job = spec.parse(with_(answer={"type": "choice", "options": ["a", "b"]}, stages=[{"judges": ["a", {"b": 2}]}]))
    assert (job.digest, job.cascades, job.decide_by) == ("3b43b9a950335cc5", False, "majority")


def test_numbers_are_averaged() -> None:
    """Answers of type number have the mean where no method is named."""
    assert spec.parse(with_(answer={"type": "number", "min": 0})).decide_by == "mean"


def test_paths_are_beside_the_file(tmp_path: Path) -> None:
    """Relative paths are relative to the job file; URLs, absolute paths and modules stay."""
    job = load(
        tmp_path,
        GOOD.replace("gold: {column: digit}", "gold: {path: s3://bucket/gold.csv}\nhandlers: judges.py")
        + "commands:\n  awk: {command: [awk], folder: scripts}\n",
    )
    assert job.source is not None
    assert job.gold is not None
    assert job.source.path == str(tmp_path / "digits.jsonl")
    assert job.gold.path == "s3://bucket/gold.csv"
    assert job.handlers == str(tmp_path / "judges.py")
    assert job.commands["awk"].folder == str(tmp_path / "scripts")
    module = load(tmp_path, GOOD.replace("digits.jsonl", "/data/digits.jsonl") + "handlers: my.judges\n")
    assert module.source is not None
    assert (module.handlers, module.source.path) == ("my.judges", "/data/digits.jsonl")


def test_travels(tmp_path: Path) -> None:
    """A job is plain data that says the same when it arrives; its digest follows from all it says."""
    job = load(tmp_path, GOOD.replace("{type: choice, options: [0, 1, 2]}", "{type: json, schema: {type: object}}"))
    there = spec.parse(msgpack.unpackb(msgpack.packb(job.plain())))
    assert there == job
    assert there.digest == job.digest
    assert json.loads(json.dumps(job.plain())) == job.plain()
    assert spec.parse(job.plain() | {"suite": 5}).digest != job.digest


@pytest.mark.parametrize("word", ["yes", "no", "on", "off", "y", "Null?"])
def test_words_stay_words(tmp_path: Path, word: str) -> None:
    """YAML 1.2: `yes` and its like are words, not truths."""
    job = load(tmp_path, GOOD.replace("[0, 1, 2]", f"[{word}, {word}s]"))
    assert job.answer.options == [word, f"{word}s"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("question:", "qestion:", "job.yaml:3: qestion: this key is not known; known are name, source, question"),
        ("id: number,", "ident: number,", "job.yaml:2: source.ident: this key is not known; known are path, format"),
        ("gold: {column: digit}", "gold: {col: digit}", "job.yaml:7: gold.col: this key is not known; known are path"),
        ("{forest: 3}", "{judge: f, wait: 3}", "judges.1.wait: this key is not known; known are judge, judg"),
        ("  - judges:", "  - accept: 0.9\n    judges:", "stages.0.accept: Input should be a valid dict"),
        ("[0, 1, 2]", "yes", "job.yaml:4: answer.options: Input should be a valid list"),
        ("[0, 1, 2]", "[a, true]", "job.yaml:4: answer.options.1: Input should be a valid string"),
        ("[0, 1, 2]", "[a, a]", "job.yaml:4: answer: options must differ"),
        ("type: choice", "type: choose", "job.yaml:4: answer.type: Input should be 'choice', 'choices', 'number'"),
        (", options: [0, 1, 2]", "", "job.yaml:4: answer: options belong to the types choice and choices"),
        ("{forest: 3}", "{forest: many}", "job.yaml:6: stages.0.judges.1.judgments: Input should be a valid integer"),
        ("{forest: 3}", "svm", "job.yaml:6: stages.0.judges: a judge stands once in a stage"),
        ("[svm, ", "[Svm!, ", "job.yaml:6: stages.0.judges.0.judge: a judge's name may have small letters"),
        ("gold:", "  - judges: [second]\ngold:", "job.yaml:5: stages: stage 0 needs accept: without it no task ends"),
        ("gold:", "    accept: {confidence: 1.5}\ngold:", "job.yaml:7: stages.0.accept.confidence: Input should be"),
        ("gold:", "    accept: {confidence: 0}\ngold:", "job.yaml:7: stages.0.accept.confidence: Input should be gre"),
        ("gold:", "    accept: {at_most: 8}\ngold:", "job.yaml:7: stages.0.accept: say when: confidence, margin or ag"),
        ("gold:", "    accept: {agree: 9, at_most: 8}\ngold:", "stages.0.accept: agree can never be reached with at_"),
        ("gold:", "    accept: {margin: 2, at_most: 5}\ngold:", "accept.at_most is 5, and its judges give 6 judgments"),
        ("gold:", "    accept: {margin: 2}\ngold:", "stages: accept of the last stage needs at_most: behind it"),
        ("gold:", "    accept: {sure: 2}\ngold:", "stages.0.accept.sure: this key is not known; known are confide"),
        ("gold:", "budget: 0\ngold:", "job.yaml:7: budget: Input should be greater than 0"),
        ("answer: {type: choice, options: [0, 1, 2]}", "answer: {type: text}\nmethod: wawa", "needs answers of type"),
        ("name: digits", "name: 'a b'", "job.yaml:1: name: a name has letters, digits, _ . and -, begins"),
        ("{column: digit}", "{}", "job.yaml:7: gold: give either path or column"),
        ("gold:", "suite: 0\ngold:", "job.yaml:7: suite: Input should be greater than or equal to 1"),
        ("gold:", "method: mean\ngold:", "method mean needs answers of type number"),
        ("gold:", "rewards: {judgment: 0.0000001}\ngold:", "no more than 6 decimal places"),
        ("gold:", "rewards: {judgment: 1, bonus: 1}\ngold:", "known are judgment, gold, agreement"),
        ("gold:", "method: robust\ngold:", "method robust needs answers of type number"),
        ("gold:", "method: rover\ngold:", "method rover needs answers of type text"),
        ("gold:", "http: {api: {url: 'ftp://x'}}\ngold:", "job.yaml:7: http.api.url: a URL begins with http:// or https://"),
        ("gold:", "llm: {m: {model: m, url: 'http://u:p@x'}}\ngold:", "job.yaml:7: llm.m.url: no user or password bel"),
        ("gold:", LLM + "prompt: hello}}\ngold:", "llm.m.prompt: it does not show the task; {payload}"),
        ("gold:", LLM + "prompt: '{{payload}}'}}\ngold:", "llm.m.prompt: it does not show the task"),
        ("gold:", LLM + "prompt: '{payload} {optoins}'}}\ngold:", "{optoins} means nothing here; known are"),
        ("gold:", LLM + "system: '{question.a}'}}\ngold:", "{question.a} means nothing here"),
        ("gold:", LLM + "headers: {authorization: Bearer x}}}\ngold:", "llm.m.headers: authorization is secret and"),
        ("gold:", LLM + "api_key: x}}\ngold:", "llm.m.api_key: this key is not known; known are url, model"),
        ("name: digits\n", "", "job.yaml:1: name: this key is missing"),
        ("path: digits.jsonl, ", "", "job.yaml:2: source.path: this key is missing"),
    ],
)  # fmt: skip
def test_wrong(tmp_path: Path, old: str, new: str, said: str) -> None:
    """Each mistake is told with file, line, key and what was expected."""
    assert old in GOOD
    assert said in refused(tmp_path, GOOD.replace(old, new, 1))


@pytest.mark.parametrize("judges", ["stages: []", "stages: [{judges: []}]", "stages: [{}]", ""])
def test_missing_judges(tmp_path: Path, judges: str) -> None:
    """A job without a judge is refused by the key where one is missing."""
    text = f"name: j\nanswer: {{type: text}}\n{judges}\n"
    said = refused(tmp_path, text)
    assert said.startswith("job.yaml:")
    assert "stages" in said


def test_all_mistakes_at_once(tmp_path: Path) -> None:
    """Every mistake is told, not only the first."""
    said = refused(tmp_path, GOOD.replace("question", "qestion").replace("type: choice", "type: choose"))
    assert "job.yaml:3: qestion" in said
    assert "job.yaml:4: answer.type" in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: [\n", "job.yaml:2: this is no YAML"),
        ("name: a\nname: b\n", "job.yaml:2: this is no YAML: found duplicate key"),
        ("name: a\n\tquestion: b\n", "this is no YAML"),
        ("a: *nobody\n", "this is no YAML"),
        ("name: a\x07b\n", "job.yaml: this is no YAML"),
        ("[" * 5000, "this is no YAML"),
        ("", "job.yaml:1: a job file is a map"),
        ("- a\n", "job.yaml:1: a job file is a map"),
        ("just words", "job.yaml:1: a job file is a map"),
    ],
    ids=["torn", "twice", "tab", "alias", "character", "nested", "empty", "list", "words"],
)
def test_no_yaml(tmp_path: Path, text: str, said: str) -> None:
    """What is no YAML, or no map, is one sentence with file and line."""
    assert said in refused(tmp_path, text)


def test_no_file(tmp_path: Path) -> None:
    """A missing file, a folder and a file that is not UTF-8 are one sentence each."""
    with pytest.raises(SpecError, match=r"there is no file .*job\.yaml"):
        spec.load(tmp_path / "job.yaml")
    with pytest.raises(SpecError, match="cannot be read"):
        spec.load(tmp_path)
    (tmp_path / "job.yaml").write_bytes(b"name: \xff\n")
    with pytest.raises(SpecError, match="cannot be read"):
        spec.load(tmp_path / "job.yaml")


def test_plain_data_has_no_lines() -> None:
    """Data that came over the API is refused with the key alone."""
    with pytest.raises(SpecError) as caught:
        spec.parse(with_(qestion="?"))
    assert caught.value.detail.startswith("job: qestion: this key is not known")
    others: list[object] = [[], "text", None, 3]
    for other in others:
        with pytest.raises(SpecError):
            spec.parse(other)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"type": "number", "min": 2, "max": 1}, "min must not be greater than max"),
        ({"type": "text", "min": 2}, "min and max belong to the type number"),
        ({"type": "number", "max_length": 2}, "max_length belongs to the type text"),
        ({"type": "text", "schema": {}}, "schema belongs to the type json"),
        ({"type": "json", "schema": {"type": "objct"}}, "schema is no JSON Schema"),
        ({"type": "choices", "options": []}, "at least one"),
        ({"type": "text", "options": ["a"]}, "options belong to"),
    ],
)
def test_answers(answer: dict[str, Any], said: str) -> None:
    """Limits belong to the type they are for."""
    with pytest.raises(SpecError, match=said):
        spec.parse(with_(answer=answer))


def test_gold_column_needs_a_source() -> None:
    """Pushed tasks carry their truth themselves."""
    with pytest.raises(SpecError, match=r"gold\.column needs a source"):
        spec.parse(with_(gold={"column": "digit"}))


def test_json_schema() -> None:
    """The JSON Schema takes what the job file takes, refuses unknown keys, and describes each key that needs it."""
    schema = spec.json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(spec.parse(PLAIN).plain(), schema)
    jsonschema.validate(YAML(typ="safe").load(GOOD), schema)  # the short forms too
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(with_(qestion="?"), schema)
    assert "schema" in schema["$defs"]["Answer"]["properties"]


def test_keys_that_came_later_are_not_told() -> None:
    """However it is written down, a job file that says nothing of language models has no key of them: an earlier
    version beside this one would not read the job from the store."""
    job = spec.parse({"name": "j", "answer": {"type": "text"}, "stages": [{"judges": ["a"]}]})
    told = {"name", "question", "answer", "stages", "suite", "in_flight", "max_attempts", "commands", "http"}
    assert set(job.model_dump(exclude_none=True)) == set(job.plain()) == told
