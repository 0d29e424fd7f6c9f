"""Suites judged in real child processes: whatever a task does, it costs itself alone."""

import os
import signal
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from manyhands.broker import Delivery, Outgoing, Verdict
from manyhands.errors import HandlerError
from manyhands.messages import Event, Suite
from manyhands_worker.lane import Limits
from manyhands_worker.pool import Pool, extended
from tests.services import wait_until
from tests.unit.worker.harness import (
    NAMES,
    PAID,
    PATIENCE,
    PLAIN,
    TROUBLE,
    Results,
    dead,
    delivery,
    judge,
    judgments,
    pool,
    read,
    retried,
    suite,
    values,
)

TRACE = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}


def test_judges() -> None:
    """A function, one with confidences and a batch class judge; the message names worker and version."""
    with pool(PLAIN, children=2) as made:
        echo, sure, upper = judge(made, suite("echo", ["a", 2, None]), suite("sure", ["a"]), suite("upper", ["a", "b"]))
    said = judgments(echo)
    assert (said.values, said.confidences, said.worker, said.version) == (["a", 2, None], None, "w-1", "7")
    assert judgments(sure).confidences == [0.75]
    assert values(upper) == {100: "A", 101: "B"}


def test_many_suites_in_few_children() -> None:
    """Every one of many suites gets its own judgments, however they were given to the children."""
    sent = [suite("echo", [n], suite=n) for n in range(500)]
    with pool(PLAIN, children=2) as made:
        said = [judgments(published) for published in judge(made, *sent)]
    assert [(s.suite, s.values) for s in said] == [(n, [n]) for n in range(500)]


@pytest.mark.parametrize("name", ["one", "many"])
def test_an_exception_fails_its_task_alone(name: str) -> None:
    """The others are judged; the task comes again by the ladder, with what happened to it."""
    with pool(TROUBLE) as made:
        (published,) = judge(made, suite(name, ["a", "raise", "b", "sys.exit", "c"]))
    assert values(published) == {100: "A", 102: "B", 104: "C"}
    assert judgments(published).errors == {}
    ((key, again, headers),) = retried(published)
    assert key.startswith(f"{name}.")
    assert (again.positions, again.payloads, again.attempt) == ([101, 103], ["raise", "sys.exit"], 2)
    lines = headers["mh-history"]
    assert any("ValueError: what a payload" in line for line in lines)
    assert all("attempt 1" in line and "w-1" in line for line in lines)


def test_the_last_attempt_sets_aside_with_the_cause() -> None:
    """After the attempt cap: an error in the judgments, and a dead letter that says all there is to know."""
    results, history = Results(), ["attempt 1: ...", "attempt 2: ..."]
    with pool(TROUBLE) as made:
        sent = delivery(suite("one", ["a", "raise"], attempt=3), {"mh-history": history, "traceparent": "00-ab-cd-01"})
        made.handle([sent], results.finish)
        (outcome,) = results.wait(1)
    said = judgments(outcome.publish)
    assert (said.values, said.errors[101].code) == (["A", None], "error")
    ((key, letter, headers),) = dead(outcome.publish)
    assert (key, letter.positions, letter.payloads, letter.attempt) == ("tasks.one", [101], ["raise"], 3)
    assert (headers["mh-code"], headers["mh-version"], headers["mh-worker"], headers["mh-host"]) == (
        "error",
        "2",
        "w-1",
        "h",
    )
    assert (headers["mh-attempts"], headers["mh-history"], headers["traceparent"]) == (3, history, "00-ab-cd-01")
    assert "what a payload" in headers["mh-error"]
    assert 'raise ValueError("what a payload")' in headers["mh-traceback"]
    assert retried(outcome.publish) == []


def test_a_handler_says_what_becomes_of_a_task() -> None:
    """RetryTask waits at least as long as it says, RejectTask is final, HandBack counts as no attempt."""
    with pool(TROUBLE) as made:
        (published,) = judge(made, suite("one", ["retry", "reject", "back", "surrogate"]))
    by_position = {s.positions[0]: (key, s.attempt) for key, s, _ in retried(published)}
    assert by_position[100][0] in ("one.30s", "one.120s")
    assert by_position[102] == ("one.1s", 1)
    assert 103 in by_position
    assert judgments(published).errors[101].code == "rejected"
    assert [letter.positions for _, letter, _ in dead(published)] == [[101]]


@pytest.mark.parametrize(("name", "how"), [("one", "exit"), ("one", "crash"), ("many", "exit"), ("many", "crash")])
def test_a_task_that_kills_its_child_is_found(name: str, how: str) -> None:
    """The killer alone is set aside, with how its child ended; every other judgment is kept and told once."""
    payloads = ["a", "b", how, "c", "raise"]
    with pool(TROUBLE) as made:
        published, other = judge(made, suite(name, payloads), suite(name, ["x"], suite=2))
    assert values(published) == {100: "A", 101: "B", 103: "C"}
    said = judgments(published)
    assert said.errors.keys() == {102}
    assert said.errors[102].code == "child-died"
    assert ("status 3" if how == "exit" else "SIGSEGV") in said.errors[102].message
    assert [letter.positions for _, letter, _ in dead(published)] == [[102]]
    assert [again.positions for _, again, _ in retried(published)] == [[104]]
    assert values(other) == {100: "X"}


@pytest.mark.parametrize("name", ["one", "many"])
def test_a_task_that_hangs_is_ended_by_the_hard_limit(name: str) -> None:
    """The child is killed after the hard limit; the task that takes too long alone is set aside."""
    with pool(TROUBLE, limits=Limits(hard=0.5)) as made:
        (published,) = judge(made, suite(name, ["a", "hang", "b"]))
    assert values(published) == {100: "A", 102: "B"}
    assert judgments(published).errors[101].code == "time-limit-hard"


@pytest.mark.parametrize("name", ["limited", "limited-many"])
def test_a_soft_limit_fails_the_task_in_time(name: str) -> None:
    """TimeoutError for the task, in the same child, and the others are judged."""
    with pool(TROUBLE) as made:
        before = made.pids
        (published,) = judge(made, suite(name, ["a", "hang", "b"], attempt=3))
        assert made.pids == before
    assert values(published) == {100: "A", 102: "B"}
    assert judgments(published).errors[101].code == "time-limit"


def test_a_batch_handler_that_returns_too_few() -> None:
    """A wrong number of judgments is an error of the call; the handler that is right for one task gets them so."""
    with pool(TROUBLE) as made:
        (published,) = judge(made, suite("short", ["a", "b", "c"]))
    assert values(published) == {100: "A", 101: "B", 102: "C"}


def test_numpy_values_become_plain() -> None:
    """Scalars and arrays of NumPy, nested or whole, arrive as Python's."""
    with pool(TROUBLE) as made:
        nested, whole = judge(made, suite("numpy", [3]), suite("array", [1, 2]))
    assert values(nested) == {100: {"n": 3, "row": [0, 1]}}
    assert judgments(nested).confidences == [0.5]
    assert values(whole) == {100: 2, 101: 4}


def test_what_cannot_be_sent_fails_its_task_alone() -> None:
    """An object, a huge number, a confidence that is none: each costs its own task."""
    with pool(TROUBLE) as made:
        (published,) = judge(made, suite("odd", ["a", "object", "confidence", "nan", "huge"], attempt=3))
    said = judgments(published)
    assert values(published) == {100: "a"}
    assert {p: e.code for p, e in said.errors.items()} == {
        101: "not-plain", 102: "error", 103: "error", 104: "not-plain"
    }  # fmt: skip


def test_judgments_over_the_limit_travel_in_parts() -> None:
    """Judgments too large for one message come in several; a value too large for any is an error of its task."""
    with pool(TROUBLE, body_limit=8000) as made:
        (published,) = judge(made, suite("odd", ["large"] * 3))
    assert [len(m.body) <= 8000 for m in published] == [True] * 3
    with pool(TROUBLE, body_limit=5000) as made:
        (published,) = judge(made, suite("odd", ["a", "large"]))
    assert values(published) == {100: "a"}
    assert judgments(published).errors[101].code == "too-large"


def test_what_is_no_suite_is_set_aside_with_its_bytes() -> None:
    """Bytes that do not decode, and messages of another type, become dead letters as they came."""
    garbage = Delivery(queue="tasks.one", key="one", body=b"\xc1 no", type="suite.v1")
    event = delivery(Event(name="job.opened", job="j-1"))
    newer = Delivery(queue="tasks.one", key="one", body=b"", type="suite.v9")
    results = Results()
    with pool(TROUBLE) as made:
        made.handle([garbage, event, newer], results.finish)
        outcomes = results.wait(3)
        assert values(judge(made, suite("one", ["a"]))[0]) == {100: "A"}
    letters = [m for o in outcomes for m in o.publish]
    assert [m.body for m in letters] == [garbage.body, event.body, newer.body]
    assert {m.exchange for m in letters} == {"mh.dead"}
    assert {m.headers["mh-code"] for m in letters} == {"undecodable"}


def test_an_unknown_judge_and_an_expired_suite() -> None:
    """A judge that is not served is set aside as it came, under the judge of its queue, and nothing is said for it.

    What nobody wants any more is only said to have failed.
    """
    strange = replace(delivery(suite("nobody", ["a"]), count=2), queue="tasks.echo")
    results = Results()
    with pool(PLAIN) as made:
        made.handle([strange], results.finish)
        ((letter,),) = [outcome.publish for outcome in results.wait(1)]
        (late,) = judge(made, suite("echo", ["a"], expires_at=1.0))
    assert (letter.exchange, letter.key, letter.body) == ("mh.dead", "tasks.echo", strange.body)
    assert letter.headers["mh-code"] == "unknown-judge"
    assert "mh-told" not in letter.headers
    assert judgments(late).errors[100].code == "expired"
    assert dead(late) == retried(late) == []


def test_a_class_is_made_once_a_child() -> None:
    """Models are loaded when first needed, and kept."""
    with pool(TROUBLE) as made:
        said = [values(p)[100] for p in judge(made, *[suite("loads", [0], suite=n) for n in range(5)])]
        assert said == [[1, made.pids[0]]] * 5


@pytest.mark.parametrize("name", ["unmade", "unmade-dies"])
def test_a_handler_that_cannot_be_made_blames_no_task(name: str) -> None:
    """The suite comes again as a whole; after the last attempt it is set aside as a whole."""
    with pool(TROUBLE) as made:
        first, last = judge(made, suite(name, ["a", "b"]), suite(name, ["a", "b"], suite=2, attempt=3))
    assert [again.positions for _, again, _ in retried(first)] == [[100, 101]]
    assert [letter.positions for _, letter, _ in dead(last)] == [[100, 101]]
    assert name in judgments(last).errors[100].message


def test_children_are_replaced() -> None:
    """After its share of suites a child ends and a new one takes over."""
    with pool(TROUBLE, limits=Limits(suites=2)) as made:
        said = [values(judge(made, suite("pid", [0], suite=n))[0])[100] for n in range(6)]
    assert len(set(said)) == 3


def test_a_child_over_its_memory_is_replaced() -> None:
    """Any Python holds more than 1 MiB: so every suite gets a new child."""
    with pool(TROUBLE, limits=Limits(mib=1)) as made:
        said = [values(judge(made, suite("pid", [0], suite=n))[0])[100] for n in range(3)]
    assert len(set(said)) == 3


def test_a_child_killed_while_idle_costs_nothing() -> None:
    """Nobody is to blame; a new child judges."""
    with pool(TROUBLE) as made:
        (first,) = made.pids
        os.kill(first, signal.SIGKILL)
        (published,) = judge(made, suite("pid", [0]))
    assert values(published)[100] != first


def test_signals_for_the_worker_do_not_end_its_children() -> None:
    """SIGINT and SIGTERM are the worker's to deal with."""
    with pool(TROUBLE) as made:
        (child,) = made.pids
        os.kill(child, signal.SIGTERM)
        os.kill(child, signal.SIGINT)
        (published,) = judge(made, suite("pid", [0]))
    assert values(published)[100] == child


def test_closing_hands_back_what_has_not_begun(tmp_path: Path) -> None:
    """The suite in a child's hands goes back when the child is killed at last; the others go back at once."""
    begun, results = tmp_path / "begun", Results()
    with pool(TROUBLE) as made:
        made.handle([delivery(suite("file", [str(begun)]))], results.finish)
        wait_until(begun.exists, PATIENCE, "the suite begun")
        made.handle([delivery(suite("one", ["a"], suite=2))], results.finish)
        made.close()
        (waiting,) = results.wait(1)
        assert waiting.verdict is Verdict.HAND_BACK
        made.end(0)
        assert [o.verdict for o in results.wait(2)] == [Verdict.HAND_BACK] * 2


def test_what_came_back_too_often_is_sent_on_to_be_tried() -> None:
    """As it came, with what is known of it; a suite that came back less often is judged."""
    results = Results()
    sent = delivery(suite("one", ["a", "b"]), {"mh-deliveries": 2, "mh-history": ["before"], "mh-x": 1}, count=3)
    with pool(TROUBLE) as made:
        made.handle([sent, delivery(suite("one", ["a"]), count=2)], results.finish)
        outcomes = results.wait(2)
    (suspect,) = next(o for o in outcomes if o.deliveries == [sent]).publish
    assert (suspect.exchange, suspect.key) == NAMES.to_suspects("one")
    assert (suspect.body, suspect.type, suspect.content_encoding) == (sent.body, sent.type, sent.content_encoding)
    assert suspect.headers["mh-deliveries"] == 5
    before, noticed = suspect.headers["mh-history"]
    assert before == "before"
    assert "3 deliveries" in noticed
    assert noticed.startswith("noticed at ")
    assert "w-1" in noticed
    assert "mh-x" not in suspect.headers
    assert [values(o.publish) for o in outcomes if o.deliveries != [sent]] == [{100: "A"}]


def tried(made: Pool, sent: Delivery, *, counts_hand_backs: bool = False) -> list[Outgoing]:
    """What a suspect causes."""
    results = Results()
    made.trials(lambda: counts_hand_backs).handle([sent], results.finish)
    (outcome,) = results.wait(1)
    assert outcome.verdict is Verdict.ACK
    return list(outcome.publish)


def test_a_suspect_that_no_worker_has_died_of_is_judged() -> None:
    """Whatever it carries from before; and a task that kills its child is found as anywhere."""
    with pool(TROUBLE) as made:
        well = tried(made, delivery(suite("one", ["a"]), {"mh-alone": 9, "mh-deliveries": 30}, suspect=True))
        ill = tried(made, delivery(suite("one", ["a", "exit", "raise"]), suspect=True))
    assert values(well) == {100: "A"}
    assert values(ill) == {100: "A"}
    assert judgments(ill).errors[101].code == "child-died"
    ((key, again, headers),) = retried(ill)
    assert key.startswith("one.")
    assert again.positions == [102]
    assert "mh-deliveries" not in headers


def test_a_suspect_that_a_worker_has_died_of_is_cut() -> None:
    """In halves, which are tried each; what the suite grants and carries goes with both."""
    sent = delivery(suite("one", ["a", "b", "c"], attempt=2, max_attempts=5), {"mh-deliveries": 3, **TRACE}, count=1,
                    suspect=True)  # fmt: skip
    with pool(TROUBLE) as made:
        published = tried(made, sent)
    assert [(key, s.positions, s.attempt, s.max_attempts) for key, s, _ in retried(published)] == [
        ("one.suspect", [100], 2, 5), ("one.suspect", [101, 102], 2, 5)
    ]  # fmt: skip
    for _, _, headers in retried(published):
        assert headers["mh-deliveries"] == 4
        assert headers["traceparent"] == TRACE["traceparent"]
        assert "3 tasks were judged" in headers["mh-history"][-1]


@pytest.mark.parametrize(("counts", "workers"), [(False, 3), (True, 6)])
def test_a_task_of_which_workers_die_is_set_aside(counts: bool, workers: int) -> None:
    """Each death is noted in its history; after so many it is said to have failed, with a dead letter."""
    sent = delivery(suite("one", ["a"]), {"mh-deliveries": 3}, count=1, suspect=True)
    with pool(TROUBLE) as made:
        for died in range(1, workers):
            ((key, again, headers),) = retried(tried(made, sent, counts_hand_backs=counts))
            assert (key, again.positions, headers["mh-alone"]) == ("one.suspect", [100], died)
            sent = delivery(again, headers, count=1, suspect=True)
        gone = tried(made, sent, counts_hand_backs=counts)
    assert judgments(gone).errors[100].code == "worker-died"
    ((_, letter, headers),) = dead(gone)
    assert (letter.positions, headers["mh-code"], headers["mh-told"]) == ([100], "worker-died", True)
    assert headers["mh-error"] == f"{workers} workers ended while they judged it alone"
    assert len(headers["mh-history"]) == workers
    assert all(line.startswith("noticed at ") and "by w-1 on h: " in line for line in headers["mh-history"])
    assert headers["mh-attempts"] == workers
    assert not {"mh-exit", "mh-memory-mib"} & set(headers)  # nobody was left to tell


def test_forged_headers_of_a_suspect() -> None:
    """What is no number counts as none."""
    forged = {"mh-deliveries": -5, "mh-alone": "many", "mh-history": "no list"}
    with pool(TROUBLE) as made:
        ((_, _, headers),) = retried(tried(made, delivery(suite("one", ["a"]), forged, count=1, suspect=True)))
    assert (headers["mh-deliveries"], headers["mh-alone"], len(headers["mh-history"])) == (1, 1, 1)


def test_a_trial_is_ended_with_the_pool(tmp_path: Path) -> None:
    """What hangs on trial goes back when its child is killed at last, and no later trial begins."""
    begun, results = tmp_path / "begun", Results()
    with pool(TROUBLE) as made:
        trials = made.trials(lambda: False)
        hanging = [delivery(suite("file", [str(begun)]), suspect=True)]
        thread = threading.Thread(target=trials.handle, args=(hanging, results.finish))
        thread.start()
        wait_until(begun.exists, PATIENCE, "the trial begun")
        made.close()
        made.end(0)
        thread.join(PATIENCE)
        trials.handle([delivery(suite("one", ["a"]), suspect=True)], results.finish)
        assert [o.verdict for o in results.wait(2)] == [Verdict.HAND_BACK] * 2


def test_what_is_known_of_a_child_that_died() -> None:
    """The letter tells signal or status, memory, host, worker, and each death."""
    results = Results()
    sent = delivery(suite("many", ["a", "crash", "exit"]), {"mh-history": ["before"]})
    with pool(TROUBLE) as made:
        made.handle([sent], results.finish)
        (outcome,) = results.wait(1)
    letters = {letter.payloads[0]: headers for _, letter, headers in dead(outcome.publish)}
    assert {payload: headers["mh-exit"] for payload, headers in letters.items()} == {
        "crash": "SIGSEGV", "exit": "status 3"
    }  # fmt: skip
    for headers in letters.values():
        assert 5 < headers["mh-memory-mib"] < 5000
        assert (headers["mh-host"], headers["mh-worker"]) == ("h", "w-1")
        before, together, *_, last = headers["mh-history"]
        assert before == "before"
        assert "3 tasks" in together
        assert "alone" in last
        assert all("on h" in line and "MiB" in line for line in (together, last))


def test_a_watch_that_wakes_late_gives_that_time() -> None:
    """To every deadline that stands, for as long as it stands; one that is on time gives none."""
    a, b = object(), object()
    given = extended({}, {a: 10.0}, 0.0)
    assert given == {a: (10.0, 0.0)}
    given = extended(given, {a: 10.0, b: 12.0}, 5.0)
    assert given == {a: (10.0, 5.0), b: (12.0, 5.0)}
    given = extended(given, {a: 10.0, b: 20.0}, 1.0)
    assert given == {a: (10.0, 6.0), b: (20.0, 1.0)}
    assert extended(given, {}, 1.0) == {}


def test_a_child_that_cannot_make_its_judge_keeps_the_attempts_that_a_suite_grants(tmp_path: Path) -> None:
    """It dies while it makes the judge: tried again as often as the suite says."""
    file = tmp_path / "deadly.py"
    file.write_text(
        "import os\nfrom manyhands import judge\n\n@judge('deadly')\nclass Deadly:\n"
        "    def __init__(self): os._exit(3)\n    def __call__(self, payload): return 1\n"
    )
    with pool(str(file)) as made:
        last, more = judge(made, suite("deadly", [1], max_attempts=1), suite("deadly", [1], attempt=3, max_attempts=4))
    assert len(dead(last)) == 1
    assert [(s.attempt, s.max_attempts) for _, s, _ in retried(more)] == [(4, 4)]


def test_handlers_that_cannot_be_loaded_are_told_at_once(tmp_path: Path) -> None:
    """A missing file, a module that raises, one that ends its process, a judge that is not there."""
    broken, deadly = tmp_path / "broken.py", tmp_path / "deadly.py"
    broken.write_text("raise RuntimeError('no licence')")
    deadly.write_text("import os; os._exit(9)")
    for reference, said in [("nowhere.py", "no file"), (str(broken), "no licence"), (str(deadly), "status 9")]:
        with pytest.raises(HandlerError, match=said), pool(reference):
            pass
    with (
        pytest.raises(HandlerError, match="there is no judge nobody; there are echo, sure, upper"),
        pool(PLAIN, judges=["nobody"]),
    ):
        pass


def test_messages_can_be_read_again() -> None:
    """What a part of the suite looks like when it comes again is a suite as any other."""
    with pool(TROUBLE) as made:
        (published,) = judge(made, suite("one", ["raise", "a"]))
        ((_, again, _),) = retried(published)
        (second,) = judge(made, again)
    assert isinstance(read(second[0]), Suite)
    assert retried(second)[0][1].attempt == 3


def test_what_judgments_cost() -> None:
    """It travels beside them; also where the suite was judged in parts, since one of its tasks ended the child."""
    with pool(PAID) as made:
        whole, parts = judge(made, suite("paid", ["a", None, "b"]), suite("paid", ["a", "exit"], suite=2))
    assert judgments(whole).costs == [0.25, None, 0.25]
    assert judgments(parts).costs == [0.25, None]
