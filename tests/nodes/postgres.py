"""The ways to a PostgreSQL."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Any

from tests.nodes.container import Container, launch
from tests.nodes.node import NAME, Node
from tests.nodes.process import Process
from tests.nodes.recipe import Recipe
from tests.ports import free_ports


def _container() -> tuple[str, Node]:
    from testcontainers.community.postgres import PostgresContainer

    container = PostgresContainer(POSTGRES.image, username=NAME, password=NAME, dbname=NAME, driver=None)
    host, port = launch(container, 5432)
    return f"postgresql://{NAME}:{NAME}@{host}:{port}/{NAME}", Container(container, "postgres", "/tmp")


def _program() -> Path | None:
    found = [path for path in Path("/usr/lib/postgresql").glob("*/bin/postgres") if (path.parent / "initdb").exists()]
    if found:
        return max(found, key=lambda path: int(path.parts[-3]) if path.parts[-3].isdigit() else 0)
    on_path = shutil.which("postgres")
    program = Path(on_path).resolve() if on_path else None
    return program if program and (program.parent / "initdb").exists() else None


def _process(program: Path) -> tuple[str, Node]:
    folder = Path(tempfile.mkdtemp(prefix="manyhands-postgres-"))
    (port,) = free_ports(1)
    (folder / "password").write_text(NAME)
    account = _unprivileged_account()
    if account:
        for path in (folder, folder / "password"):
            os.chown(path, account["user"], account["group"])
    data = folder / "data"
    options = ["-p", str(port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]
    environment = os.environ | {"LC_ALL": "C.UTF-8", "HOME": str(folder)}
    node = Process([program, "-D", data, *options], folder, program.parent, environment, signal.SIGINT, account)
    initdb = ["-D", str(data), "-U", NAME, "-E", "UTF8", "--auth=scram-sha-256", f"--pwfile={folder / 'password'}"]
    try:
        node.run("initdb", *initdb, "--no-sync")
    except BaseException:
        node.close()
        raise
    # initdb makes no database of our own name; the one that is always there does
    return f"postgresql://{NAME}:{NAME}@127.0.0.1:{port}/postgres", node


def _unprivileged_account() -> dict[str, Any]:
    """Return what `subprocess` needs to leave root, which PostgreSQL refuses to run as."""
    if os.geteuid() != 0:
        return {}
    names = {account.pw_name: account for account in pwd.getpwall()}
    account = names.get("postgres") or names["nobody"]
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


POSTGRES = Recipe(
    title="PostgreSQL",
    image="postgres:18",
    package="postgresql",
    variable="MANYHANDS_TEST_POSTGRES_URL",
    container=_container,
    program=_program,
    process=_process,
)
