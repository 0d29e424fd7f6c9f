"""A commit of which nobody hears whether it went through."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from manyhands_producer.store import ProducerStore
from manyhands_service.store import Store


@contextlib.contextmanager
def lost_in_the_commit(
    store: Store | ProducerStore, *, through: bool, meanwhile: Callable[[], object] = lambda: None
) -> Iterator[None]:
    """The store's next transaction loses its connection in the commit, which went through or did not.

    ``meanwhile`` happens before it is tried again.
    """
    begin, lost = store.engine.begin, OperationalError("commit", {}, Exception("the connection is lost"))

    @contextlib.contextmanager
    def losing() -> Iterator[sa.Connection]:
        patch.undo()
        try:
            with begin() as connection:
                yield connection
                if not through:
                    raise lost
        finally:
            meanwhile()
        raise lost

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store.engine, "begin", losing)
        yield
