"""The golden bytes: what was once sent can be read for ever."""

from __future__ import annotations

from pathlib import Path

import msgpack
import pytest
import zstandard

from manyhands import codec
from tests.contract.examples import EXAMPLES, FOLDER

FILES = sorted(FOLDER.glob("*.bin"))


def parts(file: Path) -> tuple[bytes, str, str | None]:
    """A file's body, type and encoding."""
    kind, _, shape = file.stem.partition("-")
    return file.read_bytes(), kind, shape if shape == "zstd" else None


def test_every_example_has_its_file() -> None:
    """Each example has golden bytes; `python -m tests.contract.examples` writes those of a new one."""
    assert {f.stem for f in FILES} == EXAMPLES.keys()


def test_every_type_has_an_example() -> None:
    """Each type that the codec reads is among the examples."""
    assert {f.stem.partition("-")[0] for f in FILES} == codec._BUILD.keys()


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_decodes(file: Path) -> None:
    """Golden bytes decode to the message they were made of."""
    assert codec.decode(*parts(file)) == EXAMPLES[file.stem]


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_encodes_to_the_same_bytes(file: Path) -> None:
    """The message encodes to the golden bytes; compressed ones to the same once unpacked, as zstd may improve."""
    body, kind, encoding = parts(file)
    encoded = codec.encode(EXAMPLES[file.stem])
    assert (encoded.type, encoded.content_encoding) == (kind, encoding)
    if encoding == "zstd":
        unpack = zstandard.ZstdDecompressor().decompress
        assert unpack(encoded.body) == unpack(body)
    else:
        assert encoded.body == body


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_unknown_columns_are_passed_over(file: Path) -> None:
    """A column that a later release added does not keep this one from reading the rest."""
    body, kind, encoding = parts(file)
    columns = msgpack.unpackb(zstandard.decompress(body) if encoding else body, strict_map_key=False)
    columns["a column to come"] = [1, 2, 3]
    assert codec.decode(msgpack.packb(columns), kind) == EXAMPLES[file.stem]
