"""Answers out of the store: in source order, in pages, in files; and the audit of what is there."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import msgpack
import pytest
import sqlalchemy as sa
from arro3.io import read_parquet

from manyhands.errors import UnknownJob
from manyhands.messages import GOLD_ID, Failure
from manyhands_aggregator import answers, export, ledger, reading, tables
from manyhands_aggregator.suite import unpack_answers
from tests.unit.aggregator.kit import Bench, Job, open_store, plain_spec

LARGE = Failure(code="too-large", message='1 MiB, of "at most" 1\nbyte')


def _csv(blocks: Any) -> list[list[str]]:
    return list(csv.reader(io.StringIO(b"".join(blocks).decode(), newline="")))


def test_rows_stand_in_source_order_however_they_were_settled(bench: Bench) -> None:
    """Ids of the source where it has them, positions elsewhere; failed tasks have neither answer nor confidence."""
    job = Job(count=6, ids=["x", "y", None, "ü", "5,5", "z"], refused={1: LARGE})  # type: ignore[list-item]
    bench.take(*job.news())
    for suite in (2, 0):
        bench.take(job.judged(suite, "b", confidences=[0.25] * len(job.sent(suite))))
    bench.take(job.judged(1, ["c", "a"]))
    assert _csv(export.csv_blocks(answers.blocks(bench.store, job.id))) == [
        ["id", "answer", "confidence", "judgments"],
        ["x", "b", "0.25", "1"],
        ["y", "", "", "0"],
        ["2", "c", "1", "1"],
        ["ü", "a", "1", "1"],
        ["5,5", "b", "0.25", "1"],
        ["z", "b", "0.25", "1"],
    ]
    assert _csv(export.failed_blocks(answers.blocks(bench.store, job.id))) == [
        ["position", "id", "code", "message"],
        ["1", "y", "too-large", LARGE.message],
    ]


TYPES: list[tuple[dict[str, Any], list[Any], list[str]]] = [
    ({"type": "choice", "options": ["a", "b"]}, ["a", "b"], ["a", "b"]),
    ({"type": "choices", "options": ["x", "y"]}, [["y", "x"], []], ['["x", "y"]', "[]"]),
    ({"type": "number"}, [1, 0.1], ["1", "0.1"]),
    ({"type": "text"}, ['say "hi",\nyou', ""], ['say "hi",\nyou', ""]),
    ({"type": "json"}, [{"b": 1, "a": [None]}, None], ['{"a": [null], "b": 1}', "null"]),
]


@pytest.mark.parametrize(("answer", "values", "cells"), TYPES, ids=[t[0]["type"] for t in TYPES])
def test_every_format_holds_the_same(bench: Bench, answer: dict[str, Any], values: list[Any], cells: list[str]) -> None:
    """CSV, JSON Lines and Parquet say the same of every answer type, and of a task that failed."""
    job = Job(count=3, size=3)
    opened = job.opened()
    spec = {**plain_spec(), "answer": answer}
    bench.take(type(opened)(name=opened.name, job=job.id, data={**opened.data, "spec": spec}), job.announced())
    bench.take(job.sealed(), job.judged(0, values, positions=[0, 1], confidences=[0.123456789, None]))
    bench.take(job.failed(0, positions=[2]))
    assert bench.state(job) == "partial"
    rows = _csv(export.csv_blocks(answers.blocks(bench.store, job.id)))[1:]
    assert rows == [["0", cells[0], "0.123457", "1"], ["1", cells[1], "1", "1"], ["2", "", "", "0"]]
    lines = b"".join(export.jsonl_blocks(answers.blocks(bench.store, job.id))).splitlines()
    first, second, third = map(json.loads, lines)
    assert first["confidence"] == 0.123457
    assert [export.cell(row["answer"]) for row in (first, second)] == cells
    assert third == {
        "position": 2, "id": "2", "answer": None, "confidence": None, "judgments": 0,
        "error": {"code": "error", "message": "it broke"},
    }  # fmt: skip
    file = io.BytesIO()
    export.write_parquet(answers.blocks(bench.store, job.id), file)
    columns = {
        name: [v.as_py() for v in column]
        for name, column in _columns(read_parquet(io.BytesIO(file.getvalue()))).items()
    }
    assert columns["answer"] == [*cells, None]
    assert columns["error"] == [None, None, "error"]
    assert columns["position"] == [0, 1, 2]


def _columns(reader: Any) -> dict[str, Any]:
    table = reader.read_all()
    return {name: table[name] for name in table.schema.names}


def test_an_empty_job_is_an_empty_file(bench: Bench) -> None:
    """There is the head line, and a Parquet file without rows."""
    job = Job(count=0)
    bench.take(*job.news())
    assert b"".join(export.csv_blocks(answers.blocks(bench.store, job.id))) == b"id,answer,confidence,judgments\n"
    assert list(export.jsonl_blocks(answers.blocks(bench.store, job.id))) == []
    file = io.BytesIO()
    export.write_parquet(answers.blocks(bench.store, job.id), file)
    assert read_parquet(io.BytesIO(file.getvalue())).read_all().num_rows == 0


def test_answers_stream_in_blocks(bench: Bench) -> None:
    """No block holds much more than it should, and each page of the store is asked for when it is needed."""
    job = Job(count=23_000, size=1000)
    bench.take(*job.news())
    bench.take(*(job.judged(s) for s in range(job.suites)))
    found = answers.blocks(bench.store, job.id)
    sizes = [len(block.positions) for block in found]
    assert sizes == [5000, 5000, 5000, 5000, 3000]
    assert [p for block in answers.blocks(bench.store, job.id) for p in block.positions] == list(range(23_000))


def test_an_open_job_shows_what_is_settled(bench: Bench) -> None:
    """Export passes open suites over; a page ends at the first of them."""
    job = Job(count=8)
    bench.take(job.opened(), job.announced(0, 1, 2))
    bench.take(job.judged(0), job.judged(2))
    assert bench.answers(job).positions == [0, 1, 4, 5]
    assert answers.page(bench.store, job.id, after=-1, limit=100).positions == [0, 1]
    bench.take(job.judged(1))
    assert answers.page(bench.store, job.id, after=-1, limit=100).positions == [0, 1, 2, 3, 4, 5]


def test_pages(bench: Bench) -> None:
    """A page begins behind any position and holds as many as it may."""
    job = Job(count=11, size=3, refused={4: LARGE})
    bench.take(*job.news())
    bench.take(*(job.judged(s) for s in range(job.suites)))
    for limit in range(1, 13):
        for after in range(-1, 13):
            page = answers.page(bench.store, job.id, after=after, limit=limit)
            assert page.positions == list(range(after + 1, min(11, after + 1 + limit)))
            assert page.ids == [str(p) for p in page.positions]
            assert [page.positions[i] for i in page.errors] == [p for p in page.positions if p == 4]


def test_a_page_does_not_jump_over_what_was_not_announced_yet(bench: Bench) -> None:
    """A reader that follows the pages must not miss a suite whose news is late."""
    job = Job(count=6)
    bench.take(job.opened(), job.announced(0, 2), job.judged(0), job.judged(2))
    assert answers.page(bench.store, job.id, after=-1, limit=100).positions == [0, 1]
    assert answers.page(bench.store, job.id, after=1, limit=100).positions == []
    bench.take(job.announced(1), job.judged(1))
    assert answers.page(bench.store, job.id, after=1, limit=100).positions == [2, 3, 4, 5]


def test_an_unknown_job(bench: Bench) -> None:
    """It is said, whatever is asked of it."""
    for ask in (
        lambda: list(answers.blocks(bench.store, "nobody")),
        lambda: answers.page(bench.store, "nobody", after=-1, limit=1),
        lambda: ledger.audit(bench.store, "nobody"),
        lambda: bench.store.read(lambda c: reading.progress(c, "nobody", 0.0)),
        lambda: bench.store.read(lambda c: reading.provenance(c, "nobody", 0)),
    ):
        with pytest.raises(UnknownJob):
            ask()


def test_provenance(bench: Bench) -> None:
    """Every judgment of a task, of each judge, attempt and time."""
    job = Job(count=2, judges=["one", "two"])
    bench.take(*job.news())
    bench.take(job.failed(0, positions=[1]), job.judged(0, "a", confidences=[0.5, 0.75]))
    bench.take(job.judged(0, "b", judge="two", costs=[0.5, 0.25]))
    told = bench.store.read(lambda c: reading.provenance(c, job.id, 1))
    assert [(t["judge"], t["value"], t["confidence"], t["error"]) for t in told] == [
        ("one", None, None, {"code": "error", "message": "it broke"}),
        ("one", "a", 0.75, None),
        ("two", "b", None, None),
    ]
    assert [t["cost"] for t in told] == [None, None, 0.25]
    assert told[0]["worker"] == "w"
    with pytest.raises(UnknownJob, match="no position 2"):
        bench.store.read(lambda c: reading.provenance(c, job.id, 2))


def test_progress_tells_rate_and_time_left(bench: Bench) -> None:
    """The mean rate so far; what is left takes so long at it, once the total is known."""
    job = Job(count=6)
    bench.take(job.opened(bench.clock.now()), job.announced())
    bench.fake_clock.turn(4)
    bench.take(job.judged(0))
    assert bench.progress(job)["eta_seconds"] is None
    bench.take(job.sealed())
    progress = bench.progress(job)
    assert (progress["rate"], progress["eta_seconds"], progress["seconds"]) == (0.5, 8.0, 4.0)
    assert progress["name"] == "letters"
    other = Job(id="sealed-only")
    bench.take(other.sealed())
    told = bench.store.read(lambda c: reading.listing(c, bench.clock.now()))
    assert [p["job"] for p in told] == [job.id, "sealed-only"]


def test_gold_is_counted_as_suites_settle(bench: Bench) -> None:
    """Accuracy is over the tasks whose truth is known; a failed one is not right."""
    job = Job(count=4, truths=["a", "b", None, "a"])
    bench.take(*job.news(), job.judged(0, "a"))
    assert (bench.progress(job)["gold"], bench.progress(job)["accuracy"]) == (2, 0.5)
    bench.take(job.failed(1))
    assert (bench.progress(job)["gold"], bench.progress(job)["accuracy"]) == (3, pytest.approx(1 / 3, abs=1e-6))
    bench.take(job.judged(1, "a"))
    assert bench.progress(job)["accuracy"] == pytest.approx(2 / 3, abs=1e-6)


def _doctor(bench: Bench, job: Job, **values: Any) -> None:
    where = (tables.suites.c.job == job.id) & (tables.suites.c.suite == 1)
    bench.store.write(lambda c: c.execute(sa.update(tables.suites).where(where).values(**values)))


def test_the_audit_finds_a_doctored_row(bench: Bench) -> None:
    """It counts the rows themselves: an answer made a failure, an answer lost, a suite lost."""
    job = Job(count=6)
    bench.take(*job.news())
    bench.take(*(job.judged(s) for s in range(3)))
    bench.audit(job)
    query = sa.select(tables.suites.c.answers).where(tables.suites.c.job == job.id, tables.suites.c.suite == 1)
    packed = bench.store.read(lambda c: c.scalar(query))
    assert packed is not None
    doctored = [*msgpack.unpackb(packed)[:3], msgpack.packb({0: ["c", "m"]})]
    assert unpack_answers(msgpack.packb(doctored)).errors
    for change in ({"answers": msgpack.packb(doctored)}, {"answers": None}, {"count": 1}, {"first": 3}):
        _doctor(bench, job, **{"answers": packed, "count": 2, "first": 2, **change})
        assert not ledger.audit(bench.store, job.id)["conserved"], change
    _doctor(bench, job, answers=packed, count=2, first=2)
    bench.audit(job)
    bench.store.write(lambda c: c.execute(sa.delete(tables.suites).where(tables.suites.c.suite == 1)))
    account = ledger.audit(bench.store, job.id)
    assert not account["conserved"]
    assert account["difference"] == 2


def test_gold_that_was_mixed_in_is_no_answer(tmp_path: Path) -> None:
    """It is judged and counted; of answers, failures and pages it is left out, and the rest keep their ids."""
    store = open_store(f"sqlite:///{tmp_path}/gold.db")
    bench = Bench(store)
    ids = [GOLD_ID, "0", "1", GOLD_ID, "2", GOLD_ID, GOLD_ID, "3"]
    truths = ["b" if own == GOLD_ID else None for own in ids]
    job = Job(count=8, size=2, ids=ids, truths=truths)
    bench.take(*job.news())
    for suite in (0, 2):
        bench.take(job.judged(suite))
    assert [(b.positions, b.ids) for b in answers.blocks(store, job.id)] == [([1, 4], ["0", "2"])]
    assert answers.page(store, job.id, after=-1, limit=9).positions == [1]
    bench.take(job.judged(1), job.failed(3))
    block = bench.answers(job)
    assert (block.positions, block.ids, block.values) == ([1, 2, 4, 7], ["0", "1", "2", "3"], ["a", "a", "a", None])
    assert list(block.errors) == [3]
    pages, after = [], -1
    while (page := answers.page(store, job.id, after=after, limit=1)).positions:
        pages.append(page.positions)
        after = page.positions[-1]
    assert pages == [[1], [2], [4], [7]]
    assert bench.counts(job) == (8, 6, 2, 0, 0)
    assert bench.progress(job)["gold"] == 4
    store.close()
