"""A small job of the end-to-end tests: it says back what it is given."""

from __future__ import annotations

ECHO = """
from manyhands import judge

@judge("echo")
def echo(payload):
    return str(payload)
"""
KEYS = {"source": {"path": "rows.csv", "id": "id", "input": "text"}}


def rows(count: int, text: str = "t") -> str:
    """A CSV source."""
    return "id,text\n" + "".join(f"r{n},{text}{n}\n" for n in range(count))
