"""JSON Lines files as sources."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import fsspec
import pytest

from manyhands.errors import SourceError
from manyhands_producer.sources import check_source
from manyhands_producer.sources.files import BLOCK, LINE_LIMIT
from tests.unit.producer.support import job_spec, read_all, refusals


def write(folder: Path, *lines: object) -> str:
    """A file of these lines, values as JSON and bytes as they are; its path."""
    path = folder / "items.jsonl"
    path.write_bytes(b"\n".join(x if isinstance(x, bytes) else json.dumps(x).encode() for x in lines) + b"\n")
    return str(path)


def test_columns_become_payload_id_and_truth(tmp_path: Path) -> None:
    """Values keep their JSON types; an id may be a whole number; a truth may be missing."""
    path = write(tmp_path, {"id": 1, "x": [1, {"y": None}], "t": 3}, {"id": "b", "x": True})
    rows = read_all(job_spec({"path": path, "id": "id", "input": "x"}, gold={"column": "t"}))
    assert (rows.payloads, rows.ids, rows.truths) == ([[1, {"y": None}], True], ["1", "b"], [3, None])


def test_the_default_input_is_what_is_left(tmp_path: Path) -> None:
    """Without an input all columns but id and truth are the payload: bare if there is one in the first object."""
    path = write(tmp_path, {"id": "a", "x": 1}, {"id": "b", "x": 2})
    assert read_all(job_spec({"path": path, "id": "id"}), most=1, reopen=True).payloads == [1, 2]
    path = write(tmp_path, {"id": "a", "x": 1, "y": 2}, {"id": "b", "x": 2})
    assert read_all(job_spec({"path": path, "id": "id"}), most=1, reopen=True).payloads == [{"x": 1, "y": 2}, {"x": 2}]
    assert read_all(job_spec({"path": path, "input": ["x"]})).payloads == [{"x": 1}, {"x": 2}]


def test_resumes_over_blocks(tmp_path: Path) -> None:
    """Going on from any cursor gives the same rows, also where lines are longer than what is read at once."""
    long = [{"x": "é" * n} for n in (1, BLOCK // 2, 3, BLOCK, 5, 7)]
    spec = job_spec({"path": write(tmp_path, *long), "input": "x"})
    for most in (1, 2, 100):
        assert read_all(spec, most=most, reopen=True).payloads == [item["x"] for item in long]


def test_stops_at_the_size_it_is_given(tmp_path: Path) -> None:
    """A read takes in about as many bytes as it is told, however many rows it may have."""
    from manyhands_producer.sources import open_source

    source = open_source(job_spec({"path": write(tmp_path, *({"x": "y" * 1000} for _ in range(2000)))}))
    assert 0 < len(source.read(2000, 1).payloads) < 1000
    source.close()


def test_torn_lines_and_strangers_are_bad(tmp_path: Path) -> None:
    """Each bad line is named with what is wrong; empty lines count as lines and are no rows."""
    good = {"id": "a", "x": 1}
    path = write(
        tmp_path, good, b'{"id": "b", "x', b"", [1], {"id": "c"}, b'{"id": "\xff", "x": 1}', {"id": None, "x": 1}, good
    )
    rows = read_all(job_spec({"path": path, "id": "id", "input": "x"}))
    said = refusals(rows)
    assert sorted(said) == [1, 2, 3, 4, 5]
    assert {code for code, _ in said.values()} == {"bad-row"}
    assert said[1][1].startswith("items.jsonl row 2 (line 2): torn or wrong JSON")
    assert said[2][1] == "items.jsonl row 3 (line 4): an object is expected, not a list"
    assert said[3][1] == "items.jsonl row 4 (line 5): the column 'x' is missing; there is 'id'"
    assert said[4][1] == "items.jsonl row 5 (line 6): not UTF-8"
    assert said[5][1] == "items.jsonl row 6 (line 7): the id must be text or a whole number, not null"
    assert rows.ids == ["a", None, None, "c", None, None, "a"]


def test_an_endless_line_is_refused_and_passed_over(tmp_path: Path) -> None:
    """A line over the limit is not taken into memory; the rows behind it are read, also from a cursor."""
    path = write(tmp_path, {"x": 1}, b"y" * (LINE_LIMIT + BLOCK * 2), {"x": 2})
    for reopen in (False, True):
        rows = read_all(job_spec({"path": path, "input": "x"}), most=1, reopen=reopen)
        assert (rows.payloads, {i: r[0] for i, r in refusals(rows).items()}) == ([1, None, 2], {1: "too-large"})


def test_a_last_line_without_an_end_is_a_row(tmp_path: Path) -> None:
    """The last line need not end with a line feed, and is read once."""
    path = tmp_path / "items.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"x": 1}\r\n{"x": 2}')
    assert read_all(job_spec({"path": str(path)}), most=1, reopen=True).payloads == [1, 2]


def test_an_empty_file_has_no_rows(tmp_path: Path) -> None:
    """An empty file is an empty source."""
    assert read_all(job_spec({"path": write(tmp_path, b"")})).payloads == []


def test_compressed_and_remote(tmp_path: Path) -> None:
    """Compressed files and fsspec URLs are read like any other."""
    body = b"".join(b'{"x": %d}\n' % i for i in range(300))
    (tmp_path / "items.jsonl.gz").write_bytes(gzip.compress(body))
    fsspec.filesystem("memory").pipe("/jsonl/items.ndjson.gz", gzip.compress(body))
    for path in (f"{tmp_path}/items.jsonl.gz", "memory://jsonl/items.ndjson.gz"):
        assert read_all(job_spec({"path": path}), most=50, reopen=True).payloads == list(range(300))


def test_a_first_object_without_input_is_told(tmp_path: Path) -> None:
    """A file with nothing for the judges is refused before anything is published."""
    with pytest.raises(SourceError, match="no column for the judges"):
        check_source(job_spec({"path": write(tmp_path, {"id": "a"}), "id": "id"}))


def test_gold_from_a_file(tmp_path: Path) -> None:
    """Gold may be CSV or JSON Lines with the columns id and answer; anything else is refused before the job begins."""
    from manyhands_producer.sources import load_gold

    path = write(tmp_path, {"id": "a", "x": 1})
    (tmp_path / "gold.csv").write_text("id,answer\na,1\n")
    (tmp_path / "gold.jsonl").write_text('{"id": 7, "answer": [1]}\n')
    (tmp_path / "wrong.csv").write_text("id,label\na,1\n")
    spec = {"path": path, "id": "id"}
    assert load_gold(job_spec(spec, gold={"path": f"{tmp_path}/gold.csv"})) == {"a": "1"}
    assert load_gold(job_spec(spec, gold={"path": f"{tmp_path}/gold.jsonl"})) == {"7": [1]}
    for name, said in (("wrong.csv", "id and answer"), ("none.csv", "no such file")):
        with pytest.raises(SourceError, match=said):
            check_source(job_spec(spec, gold={"path": f"{tmp_path}/{name}"}))


def test_gold_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gold that unpacks to more than its limit is refused after so many bytes; a torn file is told."""
    monkeypatch.setattr("manyhands_producer.sources.gold.LIMIT", 1000)
    source = {"path": write(tmp_path, {"id": "a", "x": 1}), "id": "id"}
    packed = gzip.compress(b"id,answer\n" + b"a,1\n" * 250_000)
    for body, said in ((packed, "gold of more than"), (packed[:-20], "gold of more than"), (packed[:25], "damaged")):
        (tmp_path / "gold.csv.gz").write_bytes(body)
        with pytest.raises(SourceError, match=said):
            check_source(job_spec(source, gold={"path": f"{tmp_path}/gold.csv.gz"}))
