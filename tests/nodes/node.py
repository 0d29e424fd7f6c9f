"""A server, however it is run."""

from __future__ import annotations

from typing import Protocol

#: user, password and database of every server started here
NAME = "manyhands"


class Node(Protocol):
    """One server, as a container or as a process; it keeps its data and port until it is closed."""

    @property
    def running(self) -> bool:
        """Whether the container or process is alive, ready or not."""

    def start(self) -> None:
        """Start it unless it is running; return at once."""

    def kill(self) -> None:
        """End it with SIGKILL."""

    def stop(self) -> None:
        """End it in its own orderly way."""

    def freeze(self) -> None:
        """Have it do nothing at all from now on; its connections stand."""

    def thaw(self) -> None:
        """Let it go on."""

    def close(self) -> None:
        """End it, whatever its state, and remove its data; a second time does nothing."""

    def log(self) -> str:
        """Return the end of what it printed."""

    def run(self, *command: str) -> str:
        """Run one of the server's own programs beside it and return what that prints."""

    def put(self, name: str, content: bytes) -> str:
        """Write a file into the server's folder of settings and return its path there."""

    def port(self, inner: int) -> int:
        """Return the port under which one of the server's usual ones can be reached from here."""
