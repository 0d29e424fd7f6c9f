"""warm: import what this image's processes import, so that its byte code is there.

A root that nobody may write keeps Python from saving byte code, and the official Python comes without any: a process
would compile the standard library and its packages anew at each start. Byte code of everything would be a third of the
image.
"""

import importlib
import pkgutil
import sys
from contextlib import suppress

#: What libraries import by name when they are first used.
BY_NAME = (
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite.pysqlite",
    "psycopg_binary",
    "alembic.command",
    "uvicorn.lifespan.on",
    "uvicorn.loops.asyncio",
    "uvicorn.protocols.http.h11_impl",
    "uvicorn.protocols.websockets.auto",
    "fsspec.implementations.local",
    "fsspec.implementations.http",
    "rich.markdown",
    "rich.progress",
    "multiprocessing.connection",
    "encodings.idna",
    "zoneinfo",
)


def main() -> None:
    """Import all of our own packages that are here, and what is imported by name."""
    # tracing is off unless it is set: 1.5 MB, without which it starts a fifth of a second later
    sys.modules["manyhands.spans"] = None  # type: ignore[assignment]  # as if it were not there
    for package in pkgutil.iter_modules():
        if not package.name.startswith("manyhands"):
            continue
        root = importlib.import_module(package.name)
        for module in pkgutil.walk_packages(root.__path__, f"{package.name}."):
            # the command has modules for services that are not in this image; migrations run in Alembic's hands
            if not module.name.endswith(("__main__", ".env")):
                with suppress(ImportError):
                    importlib.import_module(module.name)
    for name in BY_NAME:
        with suppress(ImportError):
            importlib.import_module(name)
    print(f"{len(sys.modules)} modules")


if __name__ == "__main__":
    main()
