"""The output folder of a run: its answers, and what is needed to go on after a break."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from manyhands import logs
from manyhands.errors import SettingsError
from manyhands_cli.errors import FolderTaken

if TYPE_CHECKING:  # what checks job files takes its time to import, and a note can be read without
    from manyhands.spec import JobSpec

try:
    import fcntl
except ImportError:  # there is none on Windows, where two runs in one folder are not kept apart
    fcntl = None  # type: ignore[assignment]

#: How the URL of a SQLite file begins.
SQLITE = "sqlite:///"


class Folder:
    """An output folder, and the note of its last run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._note, self._lock = path / "run.json", path / "run.lock"
        self._held: IO[Any] | None = None
        try:
            self._said: dict[str, Any] = json.loads(self._note.read_text())
        except (OSError, ValueError):
            self._said = {}

    @property
    def job(self) -> str | None:
        """The id of the job that was run here last."""
        return self._said.get("job")

    @property
    def store(self) -> str:
        """The store it was run on.

        Raises:
            SettingsError: its URL had a password, which is not kept.
        """
        said: str = self._said.get("store") or self.own_store
        if "://" not in said:
            return f"{SQLITE}{self.path / said}"
        if said != self.own_store and ":***@" in said:
            raise SettingsError(f"the store's password is not kept in {self._note}; give --store {said}")
        return said

    @property
    def own_store(self) -> str:
        """The store of a run that was told no other."""
        return f"{SQLITE}{self.path / 'manyhands.db'}"

    def _kept(self, store: str) -> str:
        """What is noted of a store: of a file in the folder its path from there, so that the folder may be moved."""
        file = Path(store.removeprefix(SQLITE))
        if store.startswith(SQLITE) and file.resolve().is_relative_to(self.path.resolve()):
            return str(file.resolve().relative_to(self.path.resolve()))
        return logs.mask(store)

    def claim(self) -> None:
        """Make the folder, for this run alone; the claim ends with the process.

        Raises:
            FolderTaken: another run is at work in it.
            OSError: it cannot be made.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        self._held = self._lock.open("w")
        if fcntl is not None:
            try:
                fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise FolderTaken(str(self.path)) from None

    def unfinished(self) -> str | None:
        """The id of the job that was run here last, if it has not come to its end."""
        return self.job if not self._said.get("ended") else None

    def resumable(self, spec: JobSpec, broker: str, store: str) -> str | None:
        """The id of an unfinished run of the same job on the same broker and store.

        On another broker it cannot go on: what was published waits in the queues of the first.
        """
        return self.unfinished() if self._said.get("key") == _key(spec, broker, store) else None

    def begin(self, job: str, spec: JobSpec, broker: str, store: str) -> None:
        """Note a run that begins. The own store of an earlier run here is scratch and makes room."""
        if store == self.own_store:
            for file in self.path.glob("manyhands-*.db*"):
                file.unlink()
        said = {"job": job, "digest": spec.digest, "store": self._kept(store), "key": _key(spec, broker, store)}
        self._write({**said, "ended": False})

    def end(self) -> None:
        """Note that the run came to its end."""
        self._write({**self._said, "ended": True})

    def _write(self, said: dict[str, Any]) -> None:
        self._said = said
        partial = self._note.with_suffix(".partial")
        partial.write_text(json.dumps(said))
        partial.replace(self._note)


def _key(spec: JobSpec, broker: str, store: str) -> str:
    """What must be the same for a run to go on; a digest, since the URLs have passwords in them."""
    return hashlib.sha256(f"{spec.digest}\0{broker}\0{store}".encode()).hexdigest()[:16]
