"""The output folder of a run: its answers, and what is needed to go on after a break."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from manyhands.spec import JobSpec


class Folder:
    """An output folder, and the note of its last run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._note = path / "run.json"
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
        """The store it was run on."""
        return self._said.get("store") or self.own_store

    @property
    def own_store(self) -> str:
        """The store of a run that was told no other."""
        return f"sqlite:///{self.path / 'manyhands.db'}"

    def unfinished(self, spec: JobSpec, store: str) -> str | None:
        """The id of a run of the same job on the same store that has not come to its end."""
        same = self._said.get("digest") == spec.digest and self._said.get("store") == store
        return self.job if same and not self._said.get("ended") else None

    def begin(self, job: str, spec: JobSpec, store: str) -> None:
        """Note a run that begins. The store of an ended run here is scratch and makes room."""
        self.path.mkdir(parents=True, exist_ok=True)
        if store == self.own_store:
            for file in self.path.glob("manyhands-*.db*"):
                file.unlink()
        self._write({"job": job, "digest": spec.digest, "store": store, "ended": False})

    def end(self) -> None:
        """Note that the run came to its end."""
        self._write({**self._said, "ended": True})

    def _write(self, said: dict[str, Any]) -> None:
        self._said = said
        partial = self._note.with_suffix(".partial")
        partial.write_text(json.dumps(said))
        partial.replace(self._note)
