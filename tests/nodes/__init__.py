"""How a test server is run: in Docker, or as a private process of the installed program.

`provide` goes through the ways in the order that `tests.services` documents.
"""

from tests.nodes.apt import apt_install
from tests.nodes.node import Node
from tests.nodes.postgres import POSTGRES
from tests.nodes.rabbitmq import PLUGIN_PORT, RABBITMQ
from tests.nodes.recipe import NoServiceError, Recipe, provide

__all__ = ["PLUGIN_PORT", "POSTGRES", "RABBITMQ", "NoServiceError", "Node", "Recipe", "apt_install", "provide"]
