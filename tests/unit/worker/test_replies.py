"""A child's replies: gathered for a moment, never kept back by what is judged next."""

from __future__ import annotations

from multiprocessing import Pipe

from manyhands_worker import frames
from manyhands_worker.child import Replies


def test_a_reply_does_not_wait_for_the_next_suite() -> None:
    """What is gathered goes out by itself, while the judge may be busy with the next suite for as long as it likes."""
    here, there = Pipe()
    with here, there:
        replies = Replies(there)
        replies.add(["one"])
        assert here.poll(10)
        assert frames.unpack(here.recv_bytes()) == [["one"]]


def test_a_note_comes_behind_the_replies_before_it() -> None:
    """The order of replies and notes is that in which they were said."""
    here, there = Pipe()
    with here, there:
        replies = Replies(there)
        replies.add(["one"])
        replies.note(frames.LOADING, 1)
        said: list[list[object]] = []
        while len(said) < 2:
            assert here.poll(10)
            said += frames.unpack(here.recv_bytes())
        assert said == [["one"], [frames.NOTE, frames.LOADING, 1]]
