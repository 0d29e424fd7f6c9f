"""The ways to one kind of server, and which of them is taken."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.nodes.apt import apt_install
from tests.nodes.container import why_not_docker
from tests.nodes.node import Node


class NoServiceError(RuntimeError):
    """A server that the tests need can be had in none of the ways."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All the ways to one kind of server; the ways return its URL and its node, not yet started or not yet ready."""

    title: str
    image: str
    package: str
    variable: str
    container: Callable[[], tuple[str, Node]]
    program: Callable[[], Path | None]
    process: Callable[[Path], tuple[str, Node]]


def provide(recipe: Recipe) -> tuple[str, str, Node]:
    """Return URL, way ("docker" or "local node") and node of a fresh server, or raise `NoServiceError`."""
    wanted = os.environ.get("MANYHANDS_TEST_SERVICES", "")
    if wanted not in ("", "docker", "local"):
        raise NoServiceError(f"MANYHANDS_TEST_SERVICES is {wanted!r}; it may be 'docker' or 'local'")
    no_docker = "not wanted (MANYHANDS_TEST_SERVICES=local)" if wanted == "local" else why_not_docker(recipe.image)
    if not no_docker:
        url, node = recipe.container()
        return url, "docker", node
    if wanted == "docker":
        raise NoServiceError(f"no {recipe.title}: MANYHANDS_TEST_SERVICES=docker, but {no_docker}")
    program, no_package = recipe.program(), ""
    if not program:
        no_package = apt_install(recipe.package)
        program = recipe.program()
    if not program:
        raise NoServiceError(
            f"no {recipe.title}: install the package {recipe.package} (Debian, Ubuntu), or start Docker with the"
            f" image {recipe.image}, or set {recipe.variable} to a server's URL."
            f" Docker: {no_docker}. Package: {no_package}."
        )
    url, node = recipe.process(program)
    return url, "local node", node
