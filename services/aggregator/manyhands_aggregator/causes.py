"""What letters have in common: the cause, without what differs from one task to the next; pure."""

from __future__ import annotations

import hashlib
import re

#: Characters of an error that tell its cause.
TELLING = 300

#: Quoted text; an apostrophe within a word begins none.
_QUOTED = re.compile(r"""(?<!\w)(['"])(.*?)\1""")
#: What may be a name that somebody wrote into a program: a key, a column, a module.
_NAME = re.compile(r"[A-Za-z_][A-Za-z_.-]{0,39}")
_WORD = re.compile(r"[\w-]+")
_DIGITS = re.compile(r"\d+")
#: Numbers in a row, with whatever stands between the parts of a list, a time or a float.
_ROW = re.compile(r"[-+]?#(?:[\s,.:;/+-]*#)*")
#: A word of so many characters with a digit in it is an id, and no name.
ID = 8


def shape(error: str) -> str:
    """What an error says, with ``#`` for numbers and ids and ``'…'`` for quoted text that is no name.

    Only its first line counts.
    """
    line = error.strip().partition("\n")[0][:TELLING]
    line = _QUOTED.sub(lambda found: found[0] if _NAME.fullmatch(found[2]) else f"{found[1]}…{found[1]}", line)
    return _ROW.sub("#", _WORD.sub(_word, line))[:TELLING]


def _word(found: re.Match[str]) -> str:
    word = found[0]
    if not _DIGITS.search(word):
        return word
    return "#" if len(word) >= ID else _DIGITS.sub("#", word)


def cause_id(kind: str, code: str, error: str) -> str:
    """Eight hex digits that letters of one cause have in common."""
    return hashlib.sha256(f"{kind}\0{code}\0{shape(error)}".encode("utf-8", "replace")).hexdigest()[:8]
