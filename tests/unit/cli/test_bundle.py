"""Result bundles: what is in them, that answers can be computed from them, and that nothing is lost by writing them."""

from __future__ import annotations

import csv
import json
import random
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from manyhands.errors import SpecError
from manyhands.messages import GOLD_ID, Failure
from manyhands_aggregator import answers, fitting, judging, record, settled
from manyhands_aggregator.bundle import files
from manyhands_aggregator.bundle.files import FILES, Bundle, NoBundle, NoMethod
from manyhands_cli.bundle import FromStore, write
from manyhands_cli.errors import FolderRefused, StillOpen, Unsteady
from manyhands_cli.main import app
from manyhands_service.store import Store
from tests.unit.aggregator.kit import Bench, Job, open_store
from tests.unit.cli.bundles import Shelf, computed, letters

LARGE = Failure(code="too-large", message="1 MiB")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store that the tests share: each has jobs of its own."""
    store = open_store(f"sqlite:///{tmp_path_factory.mktemp('store') / 'shelf.db'}")
    yield store
    store.close()


@pytest.fixture
def shelf(store: Store, tmp_path: Path) -> Shelf:
    """A store, and room for bundles."""
    return Shelf(store, tmp_path)


def _lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_what_is_in_a_bundle(shelf: Shelf) -> None:
    """Every judgment and failure by position, judge and slot; the workers; the manifest, with a digest of each file."""
    job = letters(shelf.bench)
    bundle = shelf.bundle(job)
    assert {file.name for file in bundle.folder.iterdir()} == {*FILES, files.MANIFEST}
    said = _lines(bundle.folder / files.JUDGMENTS)
    assert [(line["position"], line["judge"]) for line in said[:6]] == [
        (0, "one"), (0, "two"), (0, "three"), (1, "one"), (1, "two"), (1, "three"),
    ]  # fmt: skip
    assert said[0] == {
        "position": 0, "id": "0", "stage": 0, "judge": "one", "slot": 0, "worker": "w", "value": "a",
        "confidence": 0.5, "started": 1.0, "finished": 2.0, "version": "1", "attempt": 1,
    }  # fmt: skip
    assert said[2]["cost"] == 0.5
    failed = [line for line in said if "error" in line]
    assert [(line["position"], line["judge"], line["error"]["code"]) for line in failed] == [
        (2, "three", "error"), (3, "three", "error"),
    ]  # fmt: skip
    assert "cost" not in failed[0]
    assert _lines(bundle.folder / files.TASKS)[1] == {"position": 1, "id": "1", "suite": 0, "truth": "b"}
    rows = {row["judge"]: row for row in csv.DictReader((bundle.folder / files.WORKERS).read_text().splitlines())}
    assert (rows["three"]["judgments"], rows["three"]["errors"], rows["three"]["cost"]) == ("4", "2", "2")
    assert (rows["one"]["gold"], rows["one"]["accuracy"]) == ("6", "0.333333")
    manifest = bundle.manifest
    assert (manifest["job"], manifest["state"], manifest["method"]) == (job.id, "complete", "majority")
    assert set(manifest["files"]) == set(FILES)
    assert set(manifest["versions"]) == {"manyhands", "numpy", "python"}
    assert bundle.changed() == []


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


@pytest.mark.parametrize("method", ["blend", "one-coin", "dawid-skene"])
@pytest.mark.parametrize("cascades", [False, True], ids=["one stage", "cascade"])
def test_a_job_that_was_gone_over_as_a_whole(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, method: str, cascades: bool
) -> None:
    """In parts, with gold mixed in, and tasks that one voter alone has judged: the same bytes out of the judgments."""
    monkeypatch.setattr(settled, "PAGE", 2)
    monkeypatch.setattr(fitting, "VOTES", 25)
    shelf.bench.upkeep._fitting._votes = 25
    chance, truths = random.Random(4), [None if p % 4 else "abc"[p % 3] for p in range(40)]
    stages = [{"judges": ["one", "two"], "accept": {"agree": 2}}, {"judges": ["three", "four"]}]
    more = {"method": method, **({"stages": stages} if cascades else {})}
    ids = [str(p) if p % 8 else GOLD_ID for p in range(40)]
    judges = ["one", "two", "three", "four"]
    job = Job(count=40, size=4, judges=judges, ids=ids, truths=truths, refused={5: LARGE}, more=more)
    shelf.bench.take(*job.news())
    for judge in ("one", "two", "three", "four"):
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
    with pytest.raises(StillOpen):
        shelf.bundle(job)
    shelf.bench.swept()
    bundle = shelf.bundle(job)
    again, compared = computed(bundle)
    assert again == shelf.answers(job) == (bundle.folder / files.ANSWERS_CSV).read_bytes()
    assert (compared.tasks, compared.different) == (35, 0)
    assert bundle.manifest["method"] == method
    lines = (bundle.folder / files.JUDGMENTS).read_text()
    other = lines.replace('"value":"a"', '"value":"b"')
    (bundle.folder / files.JUDGMENTS).write_text(other)
    assert computed(bundle)[1].different > 5  # it is the judgments that answers are made of


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


def test_the_same_job_is_the_same_bundle(shelf: Shelf) -> None:
    """To the byte, whenever it is written: nothing of the moment is in it."""
    job = letters(shelf.bench)
    one, other = shelf.bundle(job, "one"), shelf.bundle(job, "other")
    for name in (*FILES, files.MANIFEST):
        assert (one.folder / name).read_bytes() == (other.folder / name).read_bytes()


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


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_was_changed_is_named(shelf: Shelf, name: str) -> None:
    """By one byte, or away."""
    bundle = shelf.bundle(letters(shelf.bench))
    file = bundle.folder / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    (said,) = bundle.changed()
    assert said.startswith(f"{name} is not what was written")
    file.unlink()
    (said,) = bundle.changed()
    assert said.startswith(f"{name} cannot be read")


def test_what_is_no_bundle_is_said(tmp_path: Path, shelf: Shelf) -> None:
    """No manifest, another format, or files that do not fit together: an error names the folder."""
    with pytest.raises(NoBundle, match=r"bundle\.json"):
        Bundle.open(tmp_path / "nowhere")
    bundle = shelf.bundle(letters(shelf.bench))
    (bundle.folder / files.MANIFEST).write_text('{"format": "other"}')
    with pytest.raises(NoBundle, match="format"):
        Bundle.open(bundle.folder)
    for line in (b"[]\n", b"{}\n", b'{"position": 99, "judge": "one"}\n', b"no JSON\n"):
        (bundle.folder / files.JUDGMENTS).write_bytes(line)
        with pytest.raises(NoBundle, match="do not fit together"):
            computed(bundle)


def test_a_folder_that_is_no_bundle_is_not_written_over(shelf: Shelf) -> None:
    """Nor one that holds what is not of the bundle; a bundle makes room, with what was computed from it."""
    job = letters(shelf.bench)
    for content in ("notes.txt", "answers.csv"):
        folder = shelf.folder / content.replace(".", "-")
        folder.mkdir()
        (folder / content).write_text("mine")
        with pytest.raises(FolderRefused):
            write(shelf.recorded(job), folder)
        assert (folder / content).read_text() == "mine"
    file = shelf.folder / "file"
    file.write_text("mine")
    with pytest.raises(FolderRefused, match="is a file"):
        write(shelf.recorded(job), file)
    bundle = shelf.bundle(job)
    (bundle.folder / "reaggregated.csv").write_text("")
    shelf.bundle(job)
    assert not (bundle.folder / "reaggregated.csv").exists()
    (bundle.folder / "notes.txt").write_text("mine")
    with pytest.raises(FolderRefused, match=r"notes\.txt"):
        shelf.bundle(job)
    (shelf.folder / "empty").mkdir()
    assert shelf.bundle(job, "empty").changed() == []


class _Broken(FromStore):
    """Breaks off in the middle of the judgments."""

    def stream(self, file: str) -> Iterator[bytes]:
        """A file, or the beginning of one."""
        yield next(super().stream(file))
        if file == files.JUDGMENTS:
            raise ConnectionError("gone")


def test_a_bundle_is_there_whole_or_not_at_all(shelf: Shelf) -> None:
    """One that breaks off leaves nothing behind, and what was there before as it was."""
    job = letters(shelf.bench)
    before = set(shelf.folder.iterdir())
    with pytest.raises(ConnectionError):
        write(_Broken(shelf.store, job.id), shelf.folder / "bundle")
    assert set(shelf.folder.iterdir()) == before
    bundle = shelf.bundle(job)
    with pytest.raises(ConnectionError):
        write(_Broken(shelf.store, job.id), bundle.folder)
    assert bundle.changed() == []
    assert set(shelf.folder.iterdir()) == {*before, bundle.folder}


class _Changing(FromStore):
    """A job to which something happens while it is read."""

    def __init__(self, shelf: Shelf, job: Job, times: int) -> None:
        super().__init__(shelf.store, job.id)
        self._times, self._seen = times, 0

    def facts(self) -> dict[str, Any]:
        """The facts, of which one is another each time until it settles."""
        self._seen += 1
        return {**super().facts(), "judgments": min(self._seen, self._times)}


def test_a_bundle_is_of_one_moment(shelf: Shelf) -> None:
    """A job whose answers change while they are read is read again; one that goes on changing is no bundle."""
    job = letters(shelf.bench)
    assert write(_Changing(shelf, job, 2), shelf.folder / "settles")["judgments"] == 2
    with pytest.raises(Unsteady):
        write(_Changing(shelf, job, 100), shelf.folder / "never")
    assert not (shelf.folder / "never").exists()


def test_an_open_job_has_no_bundle(shelf: Shelf) -> None:
    """It says so, and leaves nothing."""
    job = Job()
    shelf.bench.take(*job.news())
    with pytest.raises(StillOpen):
        shelf.bundle(job)
    assert not (shelf.folder / "bundle").exists()


def test_what_is_streamed_is_not_held(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten times the tasks take no more memory: a page of suites is held at a time."""
    monkeypatch.setattr(answers, "ROWS", 200)
    peaks = []
    for count in (600, 6000):
        job = Job(count=count, size=50, judges=["one", "two"])
        shelf.bench.take(*job.news())
        for suite in range(job.suites):
            shelf.bench.take(job.judged(suite), job.judged(suite, judge="two"))
        list(record.judgments(shelf.store, job.id))  # whatever is kept for ever is there now
        tracemalloc.start()
        lines = sum(block.count(b"\n") for block in record.judgments(shelf.store, job.id))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert lines == 2 * count
    assert peaks[1] < 1.5 * peaks[0], peaks


def _reaggregate(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["reaggregate", *arguments])
    return done.exit_code, done.stdout


def test_the_command_says_whether_answers_are_the_same(shelf: Shelf) -> None:
    """Exit code 0 and the file where they are; 1 where a file was changed, or where its answers are not those."""
    bundle = shelf.bundle(letters(shelf.bench))
    folder, file = bundle.folder, bundle.folder / "reaggregated.csv"
    assert _reaggregate(str(folder)) == (0, f"identical: 6 answers by majority, in {file}\n")
    assert file.read_bytes() == (folder / files.ANSWERS_CSV).read_bytes()
    code, said = _reaggregate(str(folder), "--json", "--out", str(shelf.folder / "again.jsonl"))
    assert (code, json.loads(said)["identical"], json.loads(said)["accuracy"]) == (0, True, 2 / 6)
    assert (shelf.folder / "again.jsonl").read_bytes() == (folder / files.ANSWERS_JSONL).read_bytes()

    code, said = _reaggregate(str(folder), "--method", "first")
    assert code == 0
    assert said.startswith("2 of 6 answers by first differ from the bundle's, in ")
    assert (folder / "reaggregated-first.csv").exists()
    assert _reaggregate(str(folder), "--out", "answers.xlsx")[0] == 2

    answers_csv = folder / files.ANSWERS_CSV
    answers_csv.write_bytes(answers_csv.read_bytes().replace(b"b", b"c"))
    code, said = _reaggregate(str(folder))
    assert code == 1
    assert said.startswith("answers.csv is not what was written")
    code, said = _reaggregate(str(folder), "--json")
    assert (code, json.loads(said)["identical"], len(json.loads(said)["changed"])) == (1, False, 1)
    manifest = json.loads((folder / files.MANIFEST).read_bytes())
    manifest["files"][files.ANSWERS_CSV]["sha256"] = files.digest(answers_csv)
    (folder / files.MANIFEST).write_text(json.dumps(manifest))
    code, said = _reaggregate(str(folder))  # answers that no judgment bears out
    assert code == 1
    assert said.startswith("not identical: 0 of 6 answers by majority differ")
    assert _reaggregate(str(shelf.folder))[0] == 3


def test_a_bundle_is_a_whole_folder(tmp_path: Path) -> None:
    """--bundle goes with no option that is about one file."""
    done = CliRunner().invoke(app, ["results", "job-1", "--bundle", str(tmp_path / "b"), "--failed"])
    assert done.exit_code == 2


@pytest.mark.parametrize("method", [None, "dawid-skene"])
def test_gold_that_was_mixed_in_is_in_the_record_and_no_answer(shelf: Shelf, method: str | None) -> None:
    """Its judgments are there, its answer is not; and the answers come out the same when they are computed again."""
    job = letters(shelf.bench, ids=["0", GOLD_ID, "1", GOLD_ID, GOLD_ID, "2"])
    bundle = shelf.bundle(job)
    assert [line["position"] for line in _lines(bundle.folder / files.ANSWERS_JSONL)] == [0, 2, 5]
    assert {line["position"] for line in _lines(bundle.folder / files.JUDGMENTS)} == set(range(6))
    rows = {row["judge"]: row for row in csv.DictReader((bundle.folder / files.WORKERS).read_text().splitlines())}
    assert (rows["one"]["gold"], rows["one"]["compared"]) == ("6", "3")  # gold tells how good a judge is
    again, compared = computed(bundle, method=method)
    assert len(again.splitlines()) == 4
    if method is None:
        assert again == shelf.answers(job)
    assert compared.tasks == 3


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
