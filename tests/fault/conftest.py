"""Fixtures of the fault tier."""

from __future__ import annotations

import uuid

import pytest


@pytest.fixture
def namespace() -> str:
    """Queues of this test alone."""
    return f"t-{uuid.uuid4().hex[:8]}"
