"""An earlier version of Manyhands, as it really was: its packages lie in ``before.tar.xz``.

``python -m tests.fault.before COMMIT`` packs those of a commit in their place. The earlier version runs on the packages
that are installed now, and needs no history of this repository. Pack the latest release when a new one is out; a commit
before ``702f916`` knows nothing of schema generations, and does not start on a later schema.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from tests.e2e.processes import ROOT

ARCHIVE = Path(__file__).with_name("before.tar.xz")
#: The packages of a version, and where the repository has them.
PACKAGES = {
    "manyhands": "core",
    "manyhands_service": "service",
    "manyhands_producer": "services/producer",
    "manyhands_worker": "services/worker",
    "manyhands_aggregator": "services/aggregator",
    "manyhands_cli": "cli",
}


def environment(folder: Path) -> dict[str, str]:
    """What makes a process, and whatever it starts, one of the earlier version."""
    into = folder / "before"
    safe = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # Python 3.11.2 has none
    shutil.unpack_archive(ARCHIVE, into, **safe)  # type: ignore[arg-type]
    return {"PYTHONPATH": str(into)}


def pack(commit: str) -> None:
    """Write the archive anew; the same bytes for the same commit."""
    with tarfile.open(ARCHIVE, "w:xz", format=tarfile.GNU_FORMAT, preset=9) as archive:
        for package, folder in PACKAGES.items():
            packed = subprocess.run(
                ["git", "archive", f"{commit}:{folder}", package], cwd=ROOT, capture_output=True, check=True
            )
            with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as found:
                for member in found:
                    member.mtime = 0
                    archive.addfile(member, found.extractfile(member))


if __name__ == "__main__":
    pack(sys.argv[1])
