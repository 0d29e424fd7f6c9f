"""The files of a bundle, their digests, and whether they still are what was written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from manyhands.errors import ManyhandsError, SpecError
from manyhands.spec import JobSpec, received

#: What the manifest says it is; a later layout has another number.
FORMAT = "manyhands.bundle.v2"
#: What can be read: the first has the answers that a cascade accepted, and not what they rest on.
READABLE = ("manyhands.bundle.v1", FORMAT)
MANIFEST = "bundle.json"
JOB, TASKS, JUDGMENTS = "job.json", "tasks.jsonl", "judgments.jsonl"
ANSWERS_CSV, ANSWERS_JSONL = "answers.csv", "answers.jsonl"
WORKERS, RATINGS, REPORT = "workers.csv", "ratings.jsonl", "report.html"
#: What answers are computed from, with the manifest.
INPUTS = (JOB, TASKS, JUDGMENTS)
FILES = (*INPUTS, ANSWERS_CSV, ANSWERS_JSONL, WORKERS, RATINGS, REPORT)
#: All that a bundle has.
KNOWN = frozenset((*FILES, MANIFEST))
#: The manifest's digest of itself.
OWN = "sha256"
#: Files that ``reaggregate`` leaves in a bundle begin so; they are nobody's loss.
AGAIN = "reaggregated"
#: Bytes read at a time.
BLOCK = 1 << 20


class NoBundle(ManyhandsError):
    """This folder is no result bundle."""


class NoMethod(ManyhandsError):
    """There is no such method for answers of this type."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle that was written: its folder and its manifest."""

    folder: Path
    manifest: Mapping[str, Any]

    @classmethod
    def open(cls, folder: Path) -> Bundle:
        """The bundle in a folder; nothing but its manifest is read.

        Raises:
            NoBundle: there is no manifest, or not one of this version.
        """
        try:
            said = json.loads((folder / MANIFEST).read_bytes())
        except (OSError, ValueError) as error:
            raise NoBundle(f"{folder}: {MANIFEST} cannot be read ({error.__class__.__name__})") from error
        if not isinstance(said, dict) or said.get("format") not in READABLE or not isinstance(said.get("files"), dict):
            raise NoBundle(f"{folder}: {MANIFEST} is not of the format {FORMAT}")
        return cls(folder, said)

    def changed(self) -> list[str]:
        """A sentence for each file that is not what was written: its digest is another, it is missing, or new."""
        said = [self._own(), *(self._changed(name) for name in FILES), *self.strange()]
        return [sentence for sentence in said if sentence is not None]

    def strange(self) -> list[str]:
        """A sentence for each thing in the folder that is not of the bundle, nor computed from it."""
        there = sorted(file.name for file in self.folder.iterdir())
        return [
            f"{shown(name)} is not of the bundle" for name in there if name not in KNOWN and not name.startswith(AGAIN)
        ]

    def _own(self) -> str | None:
        """What is wrong with the manifest; the first format has no digest of it."""
        expected = self.manifest.get(OWN)
        if expected is None and self.manifest["format"] != FORMAT:
            return None
        found = own_digest(self.manifest)
        return None if found == expected else f"{MANIFEST} is not what was written: its own digest is {found}"

    def _changed(self, name: str) -> str | None:
        expected = self.manifest["files"].get(name)
        expected = expected.get("sha256") if isinstance(expected, dict) else None
        if expected is None:
            return f"{name} is not in {MANIFEST}"
        try:
            found = digest(self.folder / name)
        except OSError as error:
            return f"{name} cannot be read: {error.strerror}"
        return None if found == expected else f"{name} is not what was written: its SHA-256 is {found}, not {expected}"

    def spec(self) -> JobSpec:
        """The job file.

        Raises:
            NoBundle: it is none.
        """
        try:
            return received((self.folder / JOB).read_text())
        except (OSError, ValueError, SpecError) as error:
            raise NoBundle(f"{self.folder}: {JOB} is no job file") from error


def shown(name: str) -> str:
    """A name from outside, so that it does nothing to the terminal that shows it."""
    return name if name.isprintable() else ascii(name)


def own_digest(manifest: Mapping[str, Any]) -> str:
    """The SHA-256 of a manifest, in hexadecimal, of all that it says but this."""
    return hashlib.sha256(pretty({key: said for key, said in manifest.items() if key != OWN})).hexdigest()


def digest(file: Path) -> str:
    """The SHA-256 of a file, in hexadecimal.

    Raises:
        OSError: it cannot be read.
    """
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def pretty(said: Any) -> bytes:
    """JSON for people, the same bytes whenever it says the same."""
    return json.dumps(said, ensure_ascii=False, indent=2).encode() + b"\n"
