"""Gold of its own among the rows of a source: where it lies, that nothing tells it, and that nobody is asked twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manyhands.codec import decode
from manyhands.errors import SourceError
from manyhands.messages import GOLD_ID, Suite
from manyhands_producer.errors import JobRefused
from manyhands_producer.sources import load_mixed
from manyhands_producer.sources.base import Rows
from manyhands_producer.sources.mixed import Mixed
from manyhands_producer.upload import tasks_of
from tests.unit.producer.support import Bench, job_spec
from tests.unit.producer.test_reading import items, lines, sent

#: Positions of gold and its items in the first 100 tasks of a job of the version before.
PLACES = [(10, 2), (30, 0), (42, 1), (62, 3)]
TEXT = {"type": "choice", "options": ["y", "n"]}


def gold(count: int, **more: Any) -> list[Any]:
    """Items of gold: their numbers are negative, so that a test can tell them."""
    return [{"id": f"g{i}", "x": -1 - i, "answer": "y", **more} for i in range(count)]


def mixed_job(tmp_path: Path, rows: list[Any], known: list[Any], share: float = 0.2, **source: Any) -> Any:
    """A job file that mixes in gold."""
    source = {"path": lines(tmp_path, rows), "input": "x", "id": "id", **source}
    keys = {"path": lines(tmp_path, known, "gold.jsonl"), "share": share}
    return job_spec({k: v for k, v in source.items() if v is not None}, gold=keys, answer=TEXT)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 200), st.integers(0, 30), st.sampled_from([0.5, 0.3, 0.2, 0.05]), st.data())
def test_however_it_is_read_it_is_the_same(rows: int, known: int, share: float, data: st.DataObject) -> None:
    """In batches of any size: each row once and in its order, each item at most once, one in a run of positions."""
    mixed = Mixed.of("job-1", share, [f"g{i}" for i in range(known)], ["y"] * known, b"s")
    payloads: list[Any] = []
    ids: list[Any] = []
    read = 0
    while read < rows:
        size = data.draw(st.integers(1, rows - read))
        some = mixed.mix(Rows(payloads=[f"r{i}" for i in range(read, read + size)]), len(payloads))
        payloads += some.payloads
        ids += some.ids or []
        read += size
    assert [p for p in payloads if p.startswith("r")] == [f"r{i}" for i in range(rows)]
    assert [i for i in ids if i != GOLD_ID] == [str(i) for i in range(rows)]
    at = [place for place, own in enumerate(ids) if own == GOLD_ID]
    assert at == [place for place in range(len(payloads)) if mixed.item(place) is not None]
    assert len({payloads[place] for place in at}) == len(at)
    assert [place // mixed.every for place in at] == list(range(len(at)))
    assert [mixed.before(p) for p in range(len(payloads))] == [sum(a < p for a in at) for p in range(len(payloads))]


@pytest.mark.parametrize(("job", "secret"), [("job-2", b"s"), ("job-1", b"t"), ("job-1", b"")])
def test_another_job_has_it_elsewhere(job: str, secret: bytes) -> None:
    """Places and order follow from the job's id and its secret."""
    known = [f"g{i}" for i in range(20)]
    one, two = Mixed.of("job-1", 0.05, known, known, b"s"), Mixed.of(job, 0.05, known, known, secret)
    assert one.order != two.order
    assert [p for p in range(400) if one.item(p) is not None] != [p for p in range(400) if two.item(p) is not None]


def test_a_job_from_before_has_it_where_it_was() -> None:
    """It has no secret, and may have been read in part."""
    mixed = Mixed.of("job-1", 0.05, list(range(4)), list("yyyy"), b"")
    assert [(p, mixed.item(p)) for p in range(100) if mixed.item(p) is not None] == PLACES


def gold_of(bench: Bench, job: str) -> list[tuple[int, int]]:
    """Where gold went out, and which."""
    return [(position, x) for position, x in sorted(sent(bench, job).items()) if x < 0]


def test_no_judge_knows_where_it_is(tmp_path: Path) -> None:
    """Not by what a suite carries: two jobs of the same id have it elsewhere. The job's own producer finds it again."""
    at = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        bench = Bench(tmp_path / name)
        job = bench.requests.submit(mixed_job(tmp_path / name, items(400), gold(20), 0.05), job="digits-1")
        bench.run(job)
        at.append(gold_of(bench, job))
        secret = bench.store.job(job).secret
        mixed = Mixed.of(job, 0.05, range(20), [], secret)
        assert at[-1] == [(p, -1 - i) for p in range(420) if (i := mixed.item(p)) is not None]
        assert all(secret not in m.body and secret.hex().encode() not in m.body for m in bench.publisher.published)
    assert at[0] != at[1]


def test_messages_are_those_of_a_job_without_gold(tmp_path: Path) -> None:
    """Whose source has the same payloads at the same places: all that goes to judges is the same, and in its order."""
    bench, plain = Bench(tmp_path), Bench(tmp_path, url=f"sqlite:///{tmp_path}/plain.db")
    job = bench.requests.submit(mixed_job(tmp_path, items(30), gold(6)), job="digits-1")
    bench.run(job)
    rows = [{"id": f"r{p}", "x": x, "answer": "n"} for p, x in sorted(sent(bench, job).items())]
    spec = job_spec({"path": lines(tmp_path, rows, "all.jsonl"), "input": "x", "id": "id"}, answer=TEXT)
    plain.run(plain.requests.submit(spec, job=job))
    assert {row["x"] < 0 for row in rows} == {False, True}

    def seen(of: Bench) -> list[Any]:
        return [
            (m.exchange, m.key, m.headers, replace(s, spec=""))
            for m in of.publisher.published
            if isinstance(s := decode(m.body, m.type, m.content_encoding), Suite)
        ]

    assert seen(bench) == seen(plain)
    assert len(seen(bench)) == 18


def test_it_goes_out_among_the_others(tmp_path: Path) -> None:
    """Suites carry payloads alone; the truth and the sign go to the aggregator. It takes no id that it is known by."""
    bench = Bench(tmp_path)
    job = bench.requests.submit(mixed_job(tmp_path, items(20), gold(3)))
    bench.run(job)
    said = sent(bench, job)
    assert sorted(said) == list(range(23))
    assert [x for x in said.values() if x >= 0] == list(range(20))
    assert sorted(x for x in said.values() if x < 0) == [-3, -2, -1]
    opened = bench.told("suites.opened", job)
    ids = [own for e in opened for suite in e["ids"] for own in suite]
    truths = [t for e in opened for n, suite in enumerate(e["truths"]) for t in suite or [None] * e["counts"][n]]
    assert [own for own in ids if own != GOLD_ID] == [f"r{i}" for i in range(20)]
    assert [said[p] < 0 for p in range(23)] == [own == GOLD_ID for own in ids] == [t == "y" for t in truths]
    assert bench.told("job.sealed", job) == [{"tasks": 23, "suites": 12}]


def test_rows_without_an_id_keep_their_number(tmp_path: Path) -> None:
    """Positions shift, and the ids do not."""
    bench = Bench(tmp_path)
    rows, known = ([{"x": one["x"]} | ({"answer": "n"} if "answer" in one else {}) for one in some]
                   for some in (items(9), gold(9)))  # fmt: skip
    job = bench.requests.submit(mixed_job(tmp_path, rows, known, id=None))
    bench.run(job)
    ids = [own for e in bench.told("suites.opened", job) for suite in e["ids"] for own in suite]
    assert [own for own in ids if own != GOLD_ID] == [str(i) for i in range(9)]
    assert ids.count(GOLD_ID) >= 1


@pytest.mark.parametrize(
    ("known", "why"),
    [
        ([*gold(1, z=1), {"id": "g", "x": 1, "answer": "y"}], "from one another"),
        (gold(2, answer="q"), "'q' is no answer"),
        ([{"id": "g", "x": 1}], "no answer"),
    ],
)
def test_gold_that_is_no_good_is_refused(tmp_path: Path, known: list[Any], why: str) -> None:
    """With a sentence, before there is a job."""
    with pytest.raises(SourceError, match=why):
        Bench(tmp_path).requests.submit(mixed_job(tmp_path, items(5, z=1), known, input=None))


def test_gold_that_would_be_known_ends_the_job(tmp_path: Path) -> None:
    """It has a column more than the source: seen at the first rows, of which none goes out."""
    bench = Bench(tmp_path)
    job = bench.requests.submit(mixed_job(tmp_path, items(5), gold(1, more=1), input=None))
    bench.run(job)
    assert "can be told from the source" in bench.told("job.cancelled", job)[0]["reason"]
    assert bench.suites(job) == []


def uploaded(tmp_path: Path, spec: Any, job: str) -> tuple[Bench, list[dict[str, Any]]]:
    """A producer to which the tasks of a job were pushed, and the tasks."""
    bench = Bench(tmp_path)
    bench.requests.submit(spec.model_copy(update={"source": None, "gold": None}), job=job)
    tasks: list[dict[str, Any]] = []
    for some in tasks_of(spec, job, 7):
        assert bench.requests.push(job, some, first=len(tasks)) == len(tasks) + len(some)
        tasks += some
    bench.requests.seal(job)
    bench.run(job)
    return bench, tasks


def test_uploaded_jobs_have_it_too(tmp_path: Path) -> None:
    """Mixed in where the source is read, at the same places when that is done again, as after a lost connection."""
    spec = mixed_job(tmp_path, items(40), gold(5), 0.1)
    bench, tasks = uploaded(tmp_path, spec, "digits-1")
    said = sent(bench, "digits-1")
    assert [x for _, x in sorted(said.items()) if x >= 0] == list(range(40))
    assert sorted(x for x in said.values() if x < 0) == [-5, -4, -3, -2, -1]
    ids = [own for e in bench.told("suites.opened", "digits-1") for suite in e["ids"] for own in suite]
    assert [own == GOLD_ID for own in ids] == [said[p] < 0 for p in range(45)]
    assert [task for some in tasks_of(spec, "digits-1", 1000) for task in some] == tasks
    assert [task for some in tasks_of(spec, "digits-2", 1000) for task in some] != tasks
    other = mixed_job(tmp_path, items(40), [*gold(4), gold(5)[4] | {"answer": "n"}], 0.1)
    assert [task for some in tasks_of(other, "digits-1", 1000) for task in some] != tasks


def test_pushed_tasks_say_that_they_are_gold(tmp_path: Path) -> None:
    """Judges get the payload alone; the aggregator hears the truth, and that it is no answer."""
    bench = Bench(tmp_path)
    job = bench.requests.submit(job_spec(answer=TEXT))
    bench.requests.push(job, [{"payload": 0}, {"payload": 1, "truth": "y", "gold": True}, {"payload": 2, "id": "r"}])
    bench.requests.push(job, [{"payload": 3, "truth": "n", "gold": True}])  # and the same sign again is no repeat
    bench.requests.seal(job)
    bench.run(job)
    assert sent(bench, job) == {0: 0, 1: 1, 2: 2, 3: 3}
    opened = bench.told("suites.opened", job)
    assert [own for e in opened for suite in e["ids"] for own in suite] == ["0", GOLD_ID, "r", GOLD_ID]
    for wrong in ({"gold": True}, {"gold": True, "truth": "y", "id": "g"}, {"gold": 1, "truth": "y"}):
        with pytest.raises(JobRefused, match="gold is true, of a task with a truth and no id"):
            bench.requests.submit(job_spec(answer=TEXT), tasks=[{"payload": 1, **wrong}])


def folder_job(tmp_path: Path, known: list[Any], **source: Any) -> Any:
    """A job of a folder of ten files, with gold that lies in another."""
    for name in [f"in/{i}.txt" for i in range(10)] + ["known/a.txt", "known/b.txt"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    keys = {"path": lines(tmp_path / "known", known, "gold.jsonl"), "share": 0.2}
    return job_spec({"path": str(tmp_path / "in"), "pattern": "*.txt", **source}, gold=keys, answer=TEXT)


def test_a_folder_gets_files(tmp_path: Path) -> None:
    """Those that the table of gold names, by their paths from where it lies; as bytes, without a name."""
    bench = Bench(tmp_path)
    known = [{"file": "a.txt", "answer": "y"}, {"file": "b.txt", "answer": "n"}]
    job = bench.requests.submit(folder_job(tmp_path, known))
    bench.run(job)
    said = sent(bench, job)
    assert sorted(said.values()) == sorted(
        [f"in/{i}.txt".encode() for i in range(10)] + [b"known/a.txt", b"known/b.txt"]
    )
    told = [
        (own, truth)
        for e in bench.told("suites.opened", job)
        for ids, truths in zip(e["ids"], e["truths"], strict=True)
        for own, truth in zip(ids, truths or [None] * len(ids), strict=True)
    ]
    assert sorted(truth for own, truth in told if own == GOLD_ID) == ["n", "y"]
    assert {own for own, truth in told if truth is None} == {f"{i}.txt" for i in range(10)}


@pytest.mark.parametrize(
    ("file", "source", "why"),
    [
        ("c.txt", {}, "'c.txt': .*"),
        ("../in/0.txt", {}, "no path within the folder"),
        ("/etc/passwd", {}, "no path within the folder"),
        (1, {}, "it is no path"),
        ("a.txt", {"payload": "reference"}, "known by its address"),
    ],
)
def test_files_of_gold_that_are_none(tmp_path: Path, file: Any, source: dict[str, Any], why: str) -> None:
    """Refused with a sentence, before there is a job."""
    with pytest.raises(SourceError, match=why):
        Bench(tmp_path).requests.submit(folder_job(tmp_path, [{"file": file, "answer": "y"}], **source))


def test_gold_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stays in memory."""
    monkeypatch.setattr("manyhands_producer.sources.mixed.LIMIT", 50)
    with pytest.raises(SourceError, match="gold of more than"):
        Bench(tmp_path).requests.submit(mixed_job(tmp_path, items(5), gold(30)))


def test_nothing_is_mixed_in_without_a_share() -> None:
    """Then the file has truths of rows of the source."""
    assert load_mixed(job_spec({"path": "x.csv"}, gold={"column": "t"}), "job-1") is None
