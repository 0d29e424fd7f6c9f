"""CSV files as sources."""

from __future__ import annotations

import gzip
from pathlib import Path

import fsspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manyhands.errors import SourceError
from manyhands_producer.sources import check_source
from manyhands_producer.sources.files import LINE_LIMIT
from tests.unit.producer.support import job_spec, read_all, refusals


def write(folder: Path, body: str | bytes, name: str = "reviews.csv") -> str:
    """A file with this body; its path."""
    path = folder / name
    path.write_bytes(body.encode() if isinstance(body, str) else body)
    return str(path)


def test_one_input_column_is_the_payload_itself(tmp_path: Path) -> None:
    """All columns but the id and the truth are the input; when one is left, judges get its bare cell."""
    path = write(tmp_path, "id,text,label\na,good,1\nb,bad,\n")
    rows = read_all(job_spec({"path": path, "id": "id"}, gold={"column": "label"}))
    assert (rows.payloads, rows.ids, rows.truths) == (["good", "bad"], ["a", "b"], ["1", None])


def test_several_input_columns_make_a_map(tmp_path: Path) -> None:
    """A list of input columns gives a map of them, in its order; cells stay text."""
    path = write(tmp_path, "a,b,c\n1,2,3\n")
    assert read_all(job_spec({"path": path, "input": ["c", "a"]})).payloads == [{"c": "3", "a": "1"}]
    assert read_all(job_spec({"path": path, "input": ["b"]})).payloads == [{"b": "2"}]
    assert read_all(job_spec({"path": path})).payloads == [{"a": "1", "b": "2", "c": "3"}]


def test_quoted_cells_hold_line_feeds_commas_and_quotes(tmp_path: Path) -> None:
    """What is quoted is one cell, over as many lines as it takes, with either line ending and a byte order mark."""
    path = write(tmp_path, '\ufeffid,text\r\na,"one\r\ntwo, ""three"""\r\n\r\nb,x\r\n')
    rows = read_all(job_spec({"path": path, "id": "id"}))
    assert rows.payloads == ['one\r\ntwo, "three"', "x"]
    assert rows.where(1) == "reviews.csv row 2 (line 5)"


def test_resumes_in_the_middle_of_quoted_line_feeds(tmp_path: Path) -> None:
    """Going on from any cursor gives the rows that one reading gives, wherever records and blocks end."""
    lines = ("line\n" * (i % 4) + f"é{i}" for i in range(1000))
    body = "id,text\n" + "".join(f'r{i},"{cell}"\n' + "\n" * (i % 3 == 0) for i, cell in enumerate(lines))
    spec = job_spec({"path": write(tmp_path, body), "id": "id"})
    whole = read_all(spec)
    assert len(whole.payloads) == 1000
    for most in (1, 7, 300):
        parts = read_all(spec, most=most, reopen=True)
        assert (parts.payloads, parts.ids) == (whole.payloads, whole.ids)
        assert [parts.where(i) for i in (0, 500, 999)] == [whole.where(i) for i in (0, 500, 999)]


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.text(st.sampled_from('ab,"\n\ré\u2028')), min_size=1, max_size=30),
    st.integers(min_value=1, max_value=5),
)
def test_any_text_comes_back_from_any_cursor(
    tmp_path_factory: pytest.TempPathFactory, cells: list[str], most: int
) -> None:
    """Whatever stands in quoted cells comes back as it was, and reading on from cursors changes nothing."""
    body = "id,text\n" + "".join('{},"{}"\n'.format(i, cell.replace('"', '""')) for i, cell in enumerate(cells))
    spec = job_spec({"path": write(tmp_path_factory.mktemp("csv"), body), "id": "id"})
    assert read_all(spec, most=most, reopen=True).payloads == cells


def test_rows_with_too_few_or_too_many_cells_are_bad(tmp_path: Path) -> None:
    """A row that does not fit the header is bad, named by file, row and line; the others are kept."""
    path = write(tmp_path, 'id,text,x\na,"1\n1",1\nb,2\nc,3,3,3\nd,4,4\n')
    rows = read_all(job_spec({"path": path, "id": "id", "input": "text"}))
    assert rows.payloads[0] == "1\n1"
    assert rows.payloads[3] == "4"
    assert rows.ids == ["a", "b", "c", "d"]
    assert refusals(rows) == {
        1: ("bad-row", "reviews.csv row 2 (line 4): 2 cells where the header has 3"),
        2: ("bad-row", "reviews.csv row 3 (line 5): 4 cells where the header has 3"),
    }


def test_a_row_that_is_not_utf8_is_bad(tmp_path: Path) -> None:
    """Bytes that are no UTF-8 cost their row alone, also where the id cannot be read."""
    path = write(tmp_path, b"id,text\na,\xff\nb,ok\n\xfe,x\n")
    rows = read_all(job_spec({"path": path, "id": "id"}))
    assert refusals(rows) == {
        0: ("bad-row", "reviews.csv row 1 (line 2): not UTF-8"),
        2: ("bad-row", "reviews.csv row 3 (line 4): not UTF-8"),
    }
    assert rows.ids == ["a", "b", None]
    assert rows.payloads[1] == "ok"


def test_a_torn_quote_is_bad(tmp_path: Path) -> None:
    """A quote that is not closed properly is a bad row, and reading goes on behind it."""
    path = write(tmp_path, 'id,text\na,"one" two\nb,ok\nc,"no end\n')
    rows = read_all(job_spec({"path": path, "id": "id"}))
    assert {i: r[0] for i, r in refusals(rows).items()} == {0: "bad-row", 2: "bad-row"}
    assert "reviews.csv row 1 (line 2): not CSV" in refusals(rows)[0][1]
    assert rows.payloads[1] == "ok"


def test_an_endless_line_is_refused_and_passed_over(tmp_path: Path) -> None:
    """A line over the limit is not taken into memory; the rows behind it are read."""
    path = write(tmp_path, b"id,text\na," + b"x" * (LINE_LIMIT + 2_000_000) + b"\nb,ok\n")
    spec = job_spec({"path": path, "id": "id"})
    for reopen in (False, True):
        rows = read_all(spec, most=1, reopen=reopen)
        assert {i: r[0] for i, r in refusals(rows).items()} == {0: "too-large"}
        assert (rows.payloads[1], rows.ids) == ("ok", [None, "b"])


def test_an_empty_id_is_bad(tmp_path: Path) -> None:
    """A row without an id is bad where the job names an id column."""
    path = write(tmp_path, "id,text\n,x\nb,ok\n")
    assert refusals(read_all(job_spec({"path": path, "id": "id"}))) == {
        0: ("bad-row", "reviews.csv row 1 (line 2): the id is empty")
    }


@pytest.mark.parametrize("body", ["", "id,text\n", "id,text"])
def test_an_empty_file_has_no_rows(tmp_path: Path, body: str) -> None:
    """A file without rows, or even without a header, is an empty source and no error."""
    path = write(tmp_path, body)
    rows = read_all(job_spec({"path": path, "id": "id", "input": "text"}))
    assert (rows.payloads, rows.refused) == ([], {})


def test_compressed_files_resume(tmp_path: Path) -> None:
    """A .gz is read as its name says, and goes on from a cursor by reading again what is before."""
    path = tmp_path / "reviews.csv.gz"
    path.write_bytes(gzip.compress(b"id,text\n" + b"".join(b"%d,row %d\n" % (i, i) for i in range(500))))
    spec = job_spec({"path": str(path), "id": "id"})
    assert read_all(spec, most=64, reopen=True).payloads == [f"row {i}" for i in range(500)]


def test_a_damaged_gz_ends_the_reading(tmp_path: Path) -> None:
    """A file that ends in the middle of its compressed data can never be read, and says so."""
    path = tmp_path / "reviews.csv.gz"
    path.write_bytes(gzip.compress(b"id,text\n" + bytes(range(48, 122)) * 9000)[:-200])
    with pytest.raises(SourceError, match="damaged"):
        read_all(job_spec({"path": str(path), "input": "text"}))


def test_reads_any_fsspec_url() -> None:
    """A source may be on any file system of fsspec."""
    fsspec.filesystem("memory").pipe("/csv/reviews.csv", b"id,text\na,x\nb,y\n")
    spec = job_spec({"path": "memory://csv/reviews.csv", "id": "id"})
    assert read_all(spec, most=1, reopen=True).payloads == ["x", "y"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"id,text\n", "no column 'label'"),
        (b"id,text,text,label\n", "same name"),
        (b"\xff\xfei\x00d\x00\n\x00", "not UTF-8"),
        (b"id,label\n", "no column for the judges"),
    ],
)
def test_a_wrong_header_is_told_before_anything_is_published(tmp_path: Path, body: bytes, said: str) -> None:
    """A header that is not UTF-8, or has not the columns of the job, is refused at once."""
    spec = job_spec({"path": write(tmp_path, body), "id": "id"}, gold={"column": "label"})
    with pytest.raises(SourceError, match=said):
        check_source(spec)


def test_a_missing_file_is_told_before_anything_is_published(tmp_path: Path) -> None:
    """A source that is not there is refused at once, by its name."""
    with pytest.raises(SourceError, match=r"nothing\.csv: there is no such file"):
        check_source(job_spec({"path": f"{tmp_path}/nothing.csv"}))
