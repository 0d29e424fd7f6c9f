"""Imports that do not take along what nobody here asks for."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without(package: str) -> Iterator[None]:
    """What is imported within does not find a package that it would take along for a use that is not ours.

    structlog does so with rich, for coloured tracebacks, and httpx, for a command of its own: a fifth of the time that
    a process takes to start, a child of a worker among them. Who imports the package later, or did before, has it.
    """
    found = sys.modules.get(package)
    sys.modules[package] = None  # type: ignore[assignment]  # which is how Python says that it is not there
    try:
        yield
    finally:
        del sys.modules[package]
        if found is not None:
            sys.modules[package] = found
