"""A small disk for databases of PostgreSQL, that can be filled."""

# ruff: noqa: D102  its methods are those of Small, which documents them

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import psycopg
from psycopg import sql

from tests.fault.disk import SmallDisk, disk
from tests.nodes.container import Container
from tests.nodes.process import Process
from tests.services import Postgres

NAME = "small"


class Small(Protocol):
    """A disk with a tablespace."""

    def fill(self) -> None:
        """Leave no room on it."""

    def free(self) -> None:
        """Make room."""


class Shared:
    """What every container has: a tmpfs of 64 MiB at ``/dev/shm``."""

    def __init__(self, node: Container) -> None:
        self._node = node

    def fill(self) -> None:
        self._node.run("sh", "-c", "dd if=/dev/zero of=/dev/shm/ballast bs=1k 2>&1; true")

    def free(self) -> None:
        self._node.run("rm", "/dev/shm/ballast")


@contextmanager
def small(server: Postgres) -> Iterator[Small]:
    """A tablespace ``NAME`` of the server, on such a disk."""
    node = server.node
    if isinstance(node, Container):
        node.run("mkdir", "/dev/shm/small")
        _make(server, "/dev/shm/small")
        yield Shared(node)
        return
    assert isinstance(node, Process)
    with disk(node.folder / "small") as made:
        assert isinstance(made, SmallDisk), "this test needs Docker, or root"
        space = made.folder / "space"
        space.mkdir()
        for path in (made.folder, space):
            os.chown(path, node.account["user"], node.account["group"])
        _make(server, str(space))
        try:
            yield made
        finally:
            server.stop()  # it has files open there


def _make(server: Postgres, place: str) -> None:
    with psycopg.connect(server.url, autocommit=True) as session:
        session.execute(sql.SQL("create tablespace {} location {}").format(sql.Identifier(NAME), sql.Literal(place)))
