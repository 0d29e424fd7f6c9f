"""Bytes that were once a message, after something has befallen them; and those in which fuzzing has found something."""

from __future__ import annotations

import random
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyhands.codec import EVENT, JUDGMENTS, SUITE, addressed, decode, encode
from manyhands.errors import DecodeError
from manyhands.messages import Message
from tests.contract.examples import EXAMPLES

SEEDS = sorted((Path(__file__).parent / "seeds").iterdir())
TYPES = st.sampled_from([SUITE, JUDGMENTS, EVENT])
#: MiB that decoding may take up, however the bytes were chosen: sixteen unpacked, and what Python itself needs.
MOST = 120


def befallen(body: bytes, chance: random.Random, times: int) -> bytes:
    """The bytes with some of them changed, taken away, put in, or there twice."""
    found = bytearray(body)
    for _ in range(times):
        at = chance.randrange(len(found) + 1)
        match chance.randrange(5):
            case 0 if at < len(found):
                found[at] ^= 1 << chance.randrange(8)
            case 1:
                del found[at : at + chance.randint(1, 8)]
            case 2:
                found[at:at] = chance.randbytes(chance.randint(1, 8))
            case 3:
                found[at:at] = found[at : at + chance.randint(1, 40)]
            case _:
                found[at : at + 1] = bytes([chance.choice((0xC1, 0xC7, 0xD9, 0xDC, 0xDD, 0xDF, 0xFF, 0x00))])
    return bytes(found)


def read(body: bytes, kind: str, encoding: str | None) -> Message | None:
    """The message, which can be said again; or None for what is none, which keeps its bytes."""
    try:
        found = decode(body, kind, encoding)
    except DecodeError as error:
        kept = error.body
    else:
        again = encode(found)
        assert repr(decode(again.body, again.type, again.content_encoding)) == repr(found)  # NaN is not NaN
        return found
    assert kept == body
    addressed(body, kind, encoding)
    return None


@given(st.sampled_from(sorted(EXAMPLES)), TYPES, st.integers(), st.integers(1, 12), st.booleans())
def test_mutated_messages(name: str, kind: str, seed: int, times: int, own: bool) -> None:
    """Whatever befell the bytes, they are a message or a `DecodeError`, under their own type or another."""
    whole = encode(EXAMPLES[name])
    read(befallen(whole.body, random.Random(seed), times), whole.type if own else kind, whole.content_encoding)


@given(st.sampled_from(sorted(EXAMPLES)), st.sampled_from(sorted(EXAMPLES)), st.integers(), st.integers())
def test_spliced_messages(first: str, second: str, cut: int, at: int) -> None:
    """The beginning of one and the end of another."""
    one, two = encode(EXAMPLES[first]), encode(EXAMPLES[second])
    body = one.body[: cut % len(one.body)] + two.body[at % len(two.body) :]
    read(body, one.type, one.content_encoding)


@given(st.sampled_from([b"\x91", b"\x81\x01", b"\x81\x91", b"\xdc\x00\x01"]), st.integers(0, 3000), TYPES)
def test_nested(step: bytes, depth: int, kind: str) -> None:
    """Lists and maps within each other, as deep as may be."""
    read(b"\x81\xa1a" + step * depth + b"\xc0", kind, None)


@pytest.mark.parametrize("kind", [SUITE, JUDGMENTS, EVENT])
@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: seed.name)
def test_seeds_that_found_something(seed: Path, kind: str) -> None:
    """What once took a gigabyte to decode, or seconds, is refused."""
    assert read(seed.read_bytes(), kind, seed.suffix.removeprefix(".") or None) is None


def test_memory_is_bounded() -> None:
    """All the seeds, in a process that has little more memory than a body may unpack to."""
    code = "import sys; from tests.unit.test_codec_mutated import bounded; bounded()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


def bounded() -> None:
    """Decode the seeds; fails where that took too much memory."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for seed in SEEDS:
        for kind in (SUITE, JUDGMENTS, EVENT):
            read(seed.read_bytes(), kind, "zstd")
    taken = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10
    assert taken < MOST, f"{taken} MiB"
