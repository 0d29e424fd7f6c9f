"""Suites that were replayed for some versions of the handler only; the judge ``one`` is of version 2."""

from __future__ import annotations

import time

from manyhands import replays
from tests.unit.worker.harness import TROUBLE, Results, dead, delivery, judgments, pool, retried, suite, values


def test_a_version_that_a_replay_is_not_for_hands_it_on() -> None:
    """By the retry ladder, as it came, and it costs no attempt; the others judge it."""
    results, now = Results(), time.time()
    headers = [
        replays.headers(now, unless="2"), replays.headers(now, only="3"),
        replays.headers(now, unless="1"), replays.headers(now, only="2"),
    ]  # fmt: skip
    sent = [delivery(suite("one", ["a"], suite=number), said) for number, said in enumerate(headers)]
    with pool(TROUBLE) as made:
        for each in sent:
            made.handle([each], results.finish)
        published = {outcome.deliveries[0]: outcome.publish for outcome in results.wait(4)}
    for each, said in zip(sent[:2], headers[:2], strict=True):
        ((key, again, kept),) = retried(published[each])
        assert (key, again.attempt, again.payloads) == ("one.1s", 1, ["a"])
        assert {key: kept[key] for key in said} == said
        assert len(published[each]) == 1
    assert [values(published[each]) for each in sent[2:]] == [{100: "A"}, {100: "A"}]


def test_a_replay_that_nobody_may_judge_is_set_aside_again() -> None:
    """After a day the letter is back, and says why; that its tasks have failed was said before."""
    results = Results()
    sent = delivery(suite("one", ["a"]), replays.headers(time.time() - replays.PATIENCE, unless="2"))
    with pool(TROUBLE) as made:
        made.handle([sent], results.finish)
        (outcome,) = results.wait(1)
    assert judgments(outcome.publish).errors[100].code == "other-version"
    ((_, letter, headers),) = dead(outcome.publish)
    assert (letter.payloads, headers["mh-code"], headers["mh-version"]) == (["a"], "other-version", "2")
    assert "24 hours" in headers["mh-error"]
    assert retried(outcome.publish) == []
