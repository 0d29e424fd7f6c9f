"""A small disk that can be filled: a tmpfs where we may mount one, else a limit on what the processes may write."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

#: Room for a job, as mount has it.
ROOM = "32m"


class Disk(Protocol):
    """A folder on a disk that is full when the test says so."""

    folder: Path

    def fill(self, *pids: int) -> None:
        """From now on these processes, or those that are started without any, cannot make a file longer."""

    def free(self, *pids: int) -> None:
        """From now on they can again."""


class SmallDisk:
    """A file system of its own, filled up with a file of no use: writers get ENOSPC."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self, *_pids: int) -> None:
        """Write until nothing more goes in."""
        with self._ballast.open("ab", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                try:
                    while file.write(bytes(size)) == size:
                        pass
                except OSError:
                    continue

    def free(self, *_pids: int) -> None:
        """Make room, of which there may have been too little even without the ballast."""
        self._ballast.unlink(missing_ok=True)
        subprocess.run(["mount", "-o", f"remount,size={ROOM}", str(self.folder)], check=True)


class Quota:
    """A limit on the length of files that processes may write: writers get EFBIG."""

    def __init__(self, folder: Path, allowed: int) -> None:
        self.folder, self._allowed = folder, allowed

    def fill(self, *pids: int) -> None:
        """Allow as many bytes a file as the disk was to have, or none."""
        for pid in pids or (os.getpid(),):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (self._allowed, resource.RLIM_INFINITY))

    def free(self, *pids: int) -> None:
        """Allow everything, to the processes and to this one, from which they may have it."""
        for pid in (*pids, os.getpid()):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


@contextmanager
def disk(folder: Path, kib: int | None = None) -> Iterator[Disk]:
    """The folder as a disk, with ``kib`` KiB of room, or enough for a job until it is filled."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={f'{kib}k' if kib else ROOM}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        quota = Quota(folder, 512 * (kib or 0))
        try:
            yield quota
        finally:
            quota.free()
        return
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
