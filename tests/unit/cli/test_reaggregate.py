"""Answers computed again from a bundle: the same bytes as they went in, and what does not come out so is said."""

from __future__ import annotations

import csv
import json
import random
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from manyhands.errors import SpecError
from manyhands.messages import GOLD_ID, Failure
from manyhands_aggregator import fitting, judging, settled, tables
from manyhands_aggregator.bundle import files
from manyhands_aggregator.bundle.files import Bundle, NoBundle, NoMethod
from manyhands_aggregator.suite import pack_answers, unpack_answers
from manyhands_cli.errors import StillOpen
from manyhands_cli.main import app
from tests.unit.aggregator.kit import Bench, Job
from tests.unit.cli.bundles import Shelf, computed, letters, lines

LARGE = Failure(code="too-large", message="1 MiB")


def reaggregate(*arguments: str) -> tuple[int, str]:
    """The command's exit code and what it says."""
    done = CliRunner().invoke(app, ["reaggregate", *arguments])
    return done.exit_code, done.stdout


def _choice(job: Job, bench: Bench) -> None:
    bench.take(*job.news())
    stated = [0.9] * len(job.sent(0))
    bench.take(job.judged(0, "a"), job.judged(0, "b", judge="two", confidences=stated))
    bench.take(job.judged(2, "c", positions=[5]), job.failed(2, positions=[4]), job.judged(2, "a", judge="two"))
    bench.take(job.failed(1), job.failed(1, judge="two"))
    bench.take(job.judged(1, ["c"], positions=[3]))  # a replayed letter: a value beats the error


def _late(job: Job, bench: Bench) -> None:
    """The deadline passes: a suite has all its judgments, one has some, and of one nobody has said anything."""
    bench.take(*job.news())
    bench.take(job.judged(0), job.judged(0, "b", judge="two"), job.judged(1, "c", judge="two"))
    bench.fake_clock.turn(10_000_000_000)
    bench.swept()
    bench.take(job.judged(1, "b", judge="one"))


def _cancelled(job: Job, bench: Bench) -> None:
    bench.take(*job.news())
    bench.take(job.judged(0), job.judged(0, judge="two"), job.judged(1))
    bench.take(job.cancelled())


def _whole(*values: list[Any]) -> Callable[[Job, Bench], None]:
    def happens(job: Job, bench: Bench) -> None:
        bench.take(*job.news())
        for suite in range(job.suites):
            for judge, said in zip(("one", "two"), values, strict=True):
                bench.take(job.judged(suite, said, judge=judge))

    return happens


def _cascade(one: Any, other: Any, third: Any) -> Callable[[Job, Bench], None]:
    """Three stages: the second is asked where the first two differ, and people where that does not settle it.

    A deadline ends it, with tasks on their way.
    """

    def happens(job: Job, bench: Bench) -> None:
        bench.take(*job.news())
        for suite in range(job.suites):
            first = job.positions(suite)[0]
            bench.take(job.judged(suite, [one, other]), job.judged(suite, [other, other], judge="two"))
            bench.take(job.failed(suite, judge="three", stage=1, positions=[first], attempt=3))
            for slot, person in enumerate(("ann", "bob", "ann", "cem")[: 2 * suite]):
                said = third if slot else one
                bench.take(
                    job.judged(suite, [said], judge="people", slot=slot, stage=2, worker=person, positions=[first])
                )
        bench.fake_clock.turn(10_000_000_000)
        bench.swept()

    return happens


def _people(job: Job, bench: Bench) -> None:
    bench.take(*job.news())
    for suite in range(job.suites):
        for slot in range(2):
            bench.take(job.judged(suite, "a", judge="people", slot=slot, worker=f"p{slot}"))


STAGES = [
    {"judges": ["one", "two"], "accept": {"agree": 2}},
    {"judges": ["three"], "accept": {"agree": 2}},
    {"judges": [{"people": 2}], "accept": {"margin": 2, "at_most": 4}},
]


CASES: dict[str, tuple[dict[str, Any], Callable[[Job, Bench], None]]] = {
    "refused, failed, retried": ({"refused": {1: LARGE}, "ids": ["x", "=y", "ü", "5,5", "6", "z"]}, _choice),
    "weighted": ({"judges": [{"judge": "one", "weight": 2}, "two"], "more": {"method": "weighted"}}, _choice),
    "first": ({"more": {"method": "first"}}, _choice),
    "deadline": ({"more": {"deadline": 5}}, _late),
    "cancelled": ({}, _cancelled),
    "cascade": ({"more": {"stages": STAGES, "deadline": 5}}, _cascade("a", "b", "c")),
    "cascade by majority": (
        {"more": {"stages": STAGES, "deadline": 5, "method": "majority"}},
        _cascade("b", "a", "b"),
    ),
    "cascade of texts": (
        {"more": {"stages": STAGES, "deadline": 5, "answer": {"type": "text"}}},
        _cascade("x", "y", "z"),
    ),
    "one stage of people": (
        {"more": {"stages": STAGES[2:]}, "judges": []},
        _people,
    ),
    "choices": (
        {"more": {"answer": {"type": "choices", "options": ["x", "y"]}}, "truths": [["x"], None] * 3},
        _whole([["y", "x"], []], [["x"], ["y"]]),
    ),
    "number": (
        {"more": {"answer": {"type": "number"}}, "truths": ["1.5", None] * 3},
        _whole([1, 0.1], [2, -7e300]),
    ),
    "median": ({"more": {"answer": {"type": "number"}, "method": "median"}}, _whole([1, 3], [2, 3])),
    "text": ({"more": {"answer": {"type": "text"}}}, _whole(['say "hi",\nyou', ""], ["", ""])),
    "json": ({"more": {"answer": {"type": "json"}}}, _whole([{"b": 1, "a": [None]}, None], [{"a": [None], "b": 1}, 2])),
}


@pytest.mark.filterwarnings("ignore:overflow")  # numbers whose squares no float can hold
@pytest.mark.parametrize(("given", "happens"), CASES.values(), ids=CASES)
def test_answers_come_out_of_a_bundle_as_they_went_in(
    shelf: Shelf, given: dict[str, Any], happens: Callable[[Job, Bench], None]
) -> None:
    """Whatever became of the job: the same bytes, from the judgments alone; and its report can be drawn."""
    job = Job(count=6, size=2, **{"judges": ["one", "two"], **given})
    happens(job, shelf.bench)
    shelf.bench.swept()  # ends it, if its answers are gone over first
    bundle = shelf.bundle(job)
    for kind in ("csv", "jsonl"):
        before = (bundle.folder / f"answers.{kind}").read_bytes()
        assert before == shelf.answers(job, kind)
        again, compared = computed(bundle, kind)
        assert again == before
        assert (compared.tasks, compared.different, compared.right) == (6, 0, compared.was_right)
    assert b"<h1>" in (bundle.folder / files.REPORT).read_bytes()


#: Of these the next is asked where the first two differ.
TWO_STAGES = [{"judges": ["one", "two"], "accept": {"agree": 2}}, {"judges": ["three", "four"]}]


def four(shelf: Shelf, method: str, *, cascades: bool) -> Job:
    """A job of forty tasks, gold mixed in, that four judges have judged to its end: all, or what they were asked."""
    chance, truths = random.Random(4), [None if p % 4 else "abc"[p % 3] for p in range(40)]
    more = {"method": method, **({"stages": TWO_STAGES} if cascades else {})}
    ids = [str(p) if p % 8 else GOLD_ID for p in range(40)]
    judges = ["one", "two", "three", "four"]
    job = Job(count=40, size=4, judges=judges, ids=ids, truths=truths, refused={5: LARGE}, more=more)
    shelf.bench.take(*job.news())
    for judge in judges:
        for suite in range(job.suites):
            said = ["abc"[p % 3] if chance.random() < 0.6 else chance.choice("abc") for p in job.sent(suite)]
            stage = int(cascades and judge in ("three", "four"))
            asked: dict[str, Any] = {}
            if stage:
                with shelf.store.engine.connect() as connection:
                    course = judging.load(connection, job.id, [suite])[suite].course.asked
                asked = {"positions": sorted(course.get((1, judge, 0), ()))}
                said = said[: len(asked["positions"])]
            if suite == 7 and judge != "one":
                shelf.bench.take(job.failed(suite, judge=judge, stage=stage, attempt=3, **asked))
            elif said:
                shelf.bench.take(job.judged(suite, said, judge=judge, stage=stage, **asked))
    return job


@pytest.mark.parametrize("method", ["blend", "one-coin", "dawid-skene"])
@pytest.mark.parametrize("cascades", [False, True], ids=["one stage", "cascade"])
def test_a_job_that_was_gone_over_as_a_whole(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, method: str, cascades: bool
) -> None:
    """In parts, with gold mixed in, and tasks that one voter alone has judged: the same bytes out of the judgments."""
    monkeypatch.setattr(settled, "PAGE", 2)
    monkeypatch.setattr(fitting, "VOTES", 25)
    shelf.bench.upkeep._fitting._votes = 25
    job = four(shelf, method, cascades=cascades)
    with pytest.raises(StillOpen):
        shelf.bundle(job)
    shelf.bench.swept()
    bundle = shelf.bundle(job)
    again, compared = computed(bundle)
    assert again == shelf.answers(job) == (bundle.folder / files.ANSWERS_CSV).read_bytes()
    assert (compared.tasks, compared.different, compared.taken) == (35, 0, [])
    assert bundle.manifest["method"] == method


@pytest.mark.parametrize("method", ["majority", "blend"])
def test_what_a_cascade_accepts_is_computed_from_the_judgments(shelf: Shelf, method: str) -> None:
    """The bundle has what each answer rests on and not the answer; other judgments, or beliefs, are other answers."""
    job = four(shelf, method, cascades=True)
    shelf.bench.swept()
    bundle = shelf.bundle(job)
    again, compared = computed(bundle)
    assert again == shelf.answers(job)
    assert (compared.tasks, compared.different, compared.taken) == (35, 0, [])
    tasks = lines(bundle.folder / files.TASKS)
    accepted = [task["accepted"] for task in tasks if "accepted" in task]
    assert {key for one in accepted for key in one} == {"stage", "rests_on"}
    alone = [task["position"] for task in tasks if len(task.get("accepted", {}).get("rests_on", ())) == 1]
    assert set(alone) == {28, 29, 30, 31}  # of suite 7 one judge alone has said anything
    rights = [right for one in accepted for _, _, _, *right in one["rests_on"]]
    assert all(rights) if method == "majority" else sum(map(len, rights)) == 4  # the others are gone over as a whole

    said, beliefs = (bundle.folder / name for name in (files.JUDGMENTS, files.TASKS))
    before, believed = said.read_text(), beliefs.read_text()
    said.write_text(before.replace('"value":"a"', '"value":"b"'))
    assert computed(bundle)[1].different > 5
    only = next(line for line in before.splitlines() if '"position":29,' in line and '"value"' in line)
    other = only.replace('"value":"a"', '"value":"b"') if '"a"' in only else re.sub('"value":"."', '"value":"a"', only)
    said.write_text(before.replace(only, other))
    assert computed(bundle)[1].different == 1  # what one voter says
    said.write_text(before)
    beliefs.write_text(re.sub(r"0\.\d+\]", "0.5]", believed))
    assert computed(bundle)[0] != again  # of which the confidence is how far it was believed
    beliefs.write_text(believed)
    said.write_text(before.replace(only + "\n", ""))
    with pytest.raises(NoBundle, match="the answer of position 29 rests on a judgment that is not there"):
        computed(bundle)


@pytest.mark.parametrize(("method", "taken"), [("majority", 34), ("blend", 4)])
def test_what_an_earlier_version_accepted_is_taken_and_named(shelf: Shelf, method: str, taken: int) -> None:
    """Its stores say nothing of what answers rest on: what can not be computed is named."""
    job = four(shelf, method, cascades=True)
    shelf.bench.swept()
    rows = tables.suites
    with shelf.store.engine.begin() as connection:
        there = connection.execute(sa.select(rows.c.suite, rows.c.answers).where(rows.c.job == job.id)).all()
        for suite, packed in there:
            earlier = pack_answers(replace(unpack_answers(packed), bases=None))
            query = sa.update(rows).where(rows.c.job == job.id, rows.c.suite == suite)
            connection.execute(query.values(answers=earlier))
    bundle = shelf.bundle(job)
    again, compared = computed(bundle)
    assert again == shelf.answers(job)
    assert (compared.different, len(compared.taken)) == (0, taken)
    code, said = reaggregate(str(bundle.folder))
    assert code == 1
    assert said.startswith(f"identical, but {taken} of 35 answers")
    assert compared.taken[0] in said.splitlines()[1]
    code, said = reaggregate(str(bundle.folder), "--json")
    assert (code, json.loads(said)["identical"], json.loads(said)["not_computed"]) == (1, True, compared.taken)
    # as an earlier version has written bundles: without a digest of the manifest itself
    manifest = {**bundle.manifest, "format": "manyhands.bundle.v1"}
    del manifest[files.OWN]
    (bundle.folder / files.MANIFEST).write_bytes(files.pretty(manifest))
    earlier_bundle = Bundle.open(bundle.folder)
    assert (earlier_bundle.changed(), computed(earlier_bundle)[0]) == ([], again)


@pytest.mark.parametrize(
    ("answer", "method", "says"),
    [
        ({"type": "number", "min": 0, "max": 9}, "robust", (1.0, 1.5, 7.25)),
        ({"type": "number"}, "precision", (1.0, 1.5, 7.25)),
        ({"type": "choices", "options": ["a", "b"]}, "one-coin", (["a"], ["a", "b"], ["b"])),
    ],
)
def test_sets_and_numbers_gone_over_as_a_whole(shelf: Shelf, answer: Any, method: str, says: tuple[Any, ...]) -> None:
    """The same bytes out of the judgments; the manifest has what the method is told."""
    chance = random.Random(2)
    judges = ["one", "two", "three"]
    job = Job(count=12, size=4, judges=judges, more={"answer": answer, "method": method})
    shelf.bench.take(*job.news())
    for judge in judges:
        for suite in range(job.suites):
            shelf.bench.take(job.judged(suite, [chance.choice(says) for _ in range(4)], judge=judge))
    shelf.bench.swept()
    bundle = shelf.bundle(job)
    again, compared = computed(bundle)
    assert again == shelf.answers(job) == (bundle.folder / files.ANSWERS_CSV).read_bytes()
    assert (compared.tasks, compared.different) == (12, 0)
    assert bundle.manifest["parameters"]


def test_another_method(shelf: Shelf) -> None:
    """It is told how many answers differ and how many are right; a method that there is not is an error."""
    bundle = shelf.bundle(letters(shelf.bench))
    _, compared = computed(bundle, method="first")
    assert (compared.tasks, compared.different, compared.known) == (6, 2, 6)
    said, compared = computed(bundle, method="dawid-skene")
    assert said.count(b"\n") == 7
    assert compared.tasks == 6
    with pytest.raises(NoMethod, match="hearsay; for choice there are majority"):
        computed(bundle, method="hearsay")
    with pytest.raises(SpecError, match="number"):
        computed(bundle, method="mean")


def test_another_method_is_not_held_to_what_was_accepted(shelf: Shelf) -> None:
    """Answers accepted on the way through a cascade are those of its own method only."""
    stages = [{"judges": ["one", "two"], "accept": {"agree": 2, "at_most": 3}}]
    job = Job(count=2, size=1, more={"stages": stages, "method": "majority"})
    shelf.bench.take(*job.news())
    for suite in range(2):
        shelf.bench.take(job.judged(suite, "a"), job.judged(suite, "b", judge="two"))
        shelf.bench.take(job.judged(suite, "b", slot=1))  # which is asked because these two differ
    bundle = shelf.bundle(job)
    assert computed(bundle)[1].different == 0
    assert computed(bundle, method="majority")[1].different == 0
    first = computed(bundle, method="first")[0].decode().splitlines()
    assert [line.split(",")[1] for line in first[1:]] == ["a", "a"]


def test_the_command_says_whether_answers_are_the_same(shelf: Shelf) -> None:
    """Exit code 0 and the file where they are; 1 where a file was changed, or where its answers are not those."""
    bundle = shelf.bundle(letters(shelf.bench))
    folder, file = bundle.folder, bundle.folder / "reaggregated.csv"
    assert reaggregate(str(folder)) == (0, f"identical: 6 answers by majority, in {file}\n")
    assert file.read_bytes() == (folder / files.ANSWERS_CSV).read_bytes()
    code, said = reaggregate(str(folder), "--json", "--out", str(shelf.folder / "again.jsonl"))
    assert (code, json.loads(said)["identical"], json.loads(said)["accuracy"]) == (0, True, 2 / 6)
    assert (shelf.folder / "again.jsonl").read_bytes() == (folder / files.ANSWERS_JSONL).read_bytes()

    code, said = reaggregate(str(folder), "--method", "first")
    assert code == 0
    assert said.startswith("2 of 6 answers by first differ from the bundle's, in ")
    assert (folder / "reaggregated-first.csv").exists()
    assert reaggregate(str(folder), "--out", "answers.xlsx")[0] == 2

    answers_csv = folder / files.ANSWERS_CSV
    answers_csv.write_bytes(answers_csv.read_bytes().replace(b"b", b"c"))
    code, said = reaggregate(str(folder))
    assert code == 1
    assert said.startswith("answers.csv is not what was written")
    code, said = reaggregate(str(folder), "--json")
    assert (code, json.loads(said)["identical"], len(json.loads(said)["changed"])) == (1, False, 1)
    manifest = json.loads((folder / files.MANIFEST).read_bytes())
    manifest["files"][files.ANSWERS_CSV]["sha256"] = files.digest(answers_csv)
    manifest[files.OWN] = files.own_digest(manifest)
    (folder / files.MANIFEST).write_text(json.dumps(manifest))
    code, said = reaggregate(str(folder))  # answers that no judgment bears out
    assert code == 1
    assert said.startswith("not identical: 0 of 6 answers by majority differ")
    assert reaggregate(str(shelf.folder))[0] == 3


@pytest.mark.parametrize("method", [None, "dawid-skene"])
def test_gold_that_was_mixed_in_is_in_the_record_and_no_answer(shelf: Shelf, method: str | None) -> None:
    """Its judgments are there, its answer is not; and the answers come out the same when they are computed again."""
    job = letters(shelf.bench, ids=["0", GOLD_ID, "1", GOLD_ID, GOLD_ID, "2"])
    bundle = shelf.bundle(job)
    assert [line["position"] for line in lines(bundle.folder / files.ANSWERS_JSONL)] == [0, 2, 5]
    assert {line["position"] for line in lines(bundle.folder / files.JUDGMENTS)} == set(range(6))
    rows = {row["judge"]: row for row in csv.DictReader((bundle.folder / files.WORKERS).read_text().splitlines())}
    assert (rows["one"]["gold"], rows["one"]["compared"]) == ("6", "3")  # gold tells how good a judge is
    again, compared = computed(bundle, method=method)
    assert len(again.splitlines()) == 4
    if method is None:
        assert again == shelf.answers(job)
    assert compared.tasks == 3
    assert (compared.known, compared.was_right) == (6, 2)
    assert compared.right == 2 if method is None else compared.right > 0
    assert "of 6 tasks of known truth" in reaggregate(str(bundle.folder), "--method", "dawid-skene")[1]


def test_who_is_out_is_out_when_answers_are_computed_again(shelf: Shelf) -> None:
    """Three that always say the same are retired by gold; the bundle names them, and comes to the same answers."""
    judges, truth = ["good", "better", "x", "y", "z"], ["a", "b", "c"] * 20
    rules = {"warn": False, "pause": False, "retire": {"accuracy": 0.6}}
    job = Job(count=60, size=5, judges=judges, more={"method": "one-coin", "quality": rules})
    job.truths = [value if place % 2 else None for place, value in enumerate(truth)]
    shelf.bench.take(*job.news())
    for suite in range(job.suites):
        for judge in judges:
            said = [truth[p] if judge in judges[:2] else "a" for p in job.positions(suite)]
            shelf.bench.take(job.judged(suite, said, judge=judge))
    shelf.bench.swept()
    bundle = shelf.bundle(job)
    assert bundle.manifest["out"] == ["x", "y", "z"]
    again, compared = computed(bundle)
    assert again == shelf.answers(job)
    assert compared.different == 0
