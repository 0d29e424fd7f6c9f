"""From sources into the spool."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from manyhands.errors import SourceError
from manyhands_producer.reader import ATTEMPTS
from manyhands_producer.sources import files
from tests.unit.commits import lost_in_the_commit
from tests.unit.producer.support import Bench, job_spec


def lines(folder: Path, items: list[Any], name: str = "items.jsonl") -> str:
    """A JSON Lines file; its path."""
    path = folder / name
    path.write_text("".join(x if isinstance(x, str) else json.dumps(x) + "\n" for x in items))
    return str(path)


def items(count: int, **more: Any) -> list[Any]:
    """Some items with ids."""
    return [{"id": f"r{i}", "x": i, **more} for i in range(count)]


def sent(bench: Bench, job: str) -> dict[int, Any]:
    """What judges were sent, by position."""
    return {p: load for s in bench.suites(job) for p, load in zip(s.positions, s.payloads, strict=True)}


def test_a_source_is_read_cut_and_sealed(tmp_path: Path) -> None:
    """All items are published once, in suites of the job's size, with ids and truths told to the aggregator alone."""
    bench = Bench(tmp_path)
    path = lines(tmp_path, items(5, t=1))
    job = bench.requests.submit(job_spec({"path": path, "id": "id", "input": "x"}, gold={"column": "t"}))
    bench.run(job)
    assert sent(bench, job) == {i: i for i in range(5)}
    assert [s.positions for s in bench.suites(job)] == [[0, 1], [2, 3], [4]]
    opened = bench.told("suites.opened", job)
    assert [n for e in opened for n in e["suites"]] == [0, 1, 2]
    assert [n for e in opened for n in e["ids"]] == [["r0", "r1"], ["r2", "r3"], ["r4"]]
    assert [n for e in opened for n in e["truths"]] == [[1, 1], [1, 1], [1]]
    assert bench.told("job.sealed", job) == [{"tasks": 5, "suites": 3}]


@pytest.mark.parametrize("through", [True, False], ids=["through", "undone"])
def test_a_batch_of_which_the_commit_was_not_answered(tmp_path: Path, through: bool) -> None:
    """Whether the store had it or not, its items are there once, and the source is sealed at its end."""
    bench = Bench(tmp_path)
    job = bench.requests.submit(job_spec({"path": lines(tmp_path, items(5)), "id": "id", "input": "x"}))
    with lost_in_the_commit(bench.store, through=through):
        bench.read()
    bench.run(job)
    assert sent(bench, job) == {i: i for i in range(5)}
    assert bench.told("job.sealed", job) == [{"tasks": 5, "suites": 3}]


def test_gold_from_a_file_goes_by_id_or_position(tmp_path: Path) -> None:
    """Truths of a gold file meet their tasks by id, and by position where there are no ids."""
    bench = Bench(tmp_path)
    path = lines(tmp_path, items(3))
    for source, answers in (
        ({"path": path, "id": "id"}, '{"id": "r1", "answer": "y"}'),
        ({"path": path, "input": "x"}, '{"id": 1, "answer": "y"}'),
    ):
        gold = lines(tmp_path, [answers], "gold.jsonl")
        job = bench.requests.submit(job_spec(source, gold={"path": gold}))
        bench.run(job)
        assert [n for e in bench.told("suites.opened", job) for n in e["truths"]] == [[None, "y"], None]


def test_an_empty_source_is_a_job_without_tasks(tmp_path: Path) -> None:
    """An empty source opens a job and seals it with 0 tasks."""
    bench = Bench(tmp_path)
    job = bench.requests.submit(job_spec({"path": lines(tmp_path, [])}))
    bench.run(job)
    assert bench.told("job.sealed", job) == [{"tasks": 0, "suites": 0}]
    assert bench.suites(job) == []


def test_a_missing_source_is_refused_before_anything_happens(tmp_path: Path) -> None:
    """A source that cannot be read is an error of the submit: there is no job then."""
    bench = Bench(tmp_path)
    with pytest.raises(SourceError, match="there is no such file"):
        bench.requests.submit(job_spec({"path": f"{tmp_path}/none.jsonl"}))
    assert bench.requests.jobs() == []


def test_a_source_outside_the_roots_is_refused(tmp_path: Path) -> None:
    """The API's jobs read only what lies in MANYHANDS_SOURCE_ROOTS, their gold too."""
    bench = Bench(tmp_path)
    path = lines(tmp_path, items(1))
    for spec in (
        job_spec({"path": "/etc/passwd", "format": "csv"}),
        job_spec({"path": path}, gold={"path": "/etc/x.csv"}),
    ):
        with pytest.raises(SourceError, match="MANYHANDS_SOURCE_ROOTS"):
            bench.requests.submit(spec)
    bench.requests._roots = None
    with pytest.raises(SourceError, match="no such file"):
        bench.requests.submit(job_spec({"path": "/etc/none.csv"}))


def test_a_source_that_leaves_the_roots_later_is_not_read(tmp_path: Path) -> None:
    """What leads elsewhere when it is opened, however it was when the job was taken, ends the job unread."""
    bench = Bench(tmp_path)
    inside, outside = lines(tmp_path, items(2)), tmp_path.parent / f"{tmp_path.name}-outside.jsonl"
    outside.write_text('{"x": "secret"}\n')
    (tmp_path / "link.jsonl").symlink_to(inside)
    job = bench.requests.submit(job_spec({"path": f"{tmp_path}/link.jsonl"}))
    (tmp_path / "link.jsonl").unlink()
    (tmp_path / "link.jsonl").symlink_to(outside)
    bench.run(job)
    status = bench.requests.status(job)
    assert (status["state"], status["tasks"]) == ("cancelled", 0)
    assert "MANYHANDS_SOURCE_ROOTS" in status["error"]


def test_stop_ends_the_job_at_the_bad_row(tmp_path: Path) -> None:
    """With on_bad_row: stop the job is cancelled with file, row and line; what came before is counted and announced."""
    bench = Bench(tmp_path)
    (tmp_path / "reviews.csv").write_text("id,text\n" + "".join(f"{i},x\n" for i in range(16)) + "bad\n" + "17,x\n")
    job = bench.requests.submit(job_spec({"path": f"{tmp_path}/reviews.csv", "id": "id"}))
    bench.run(job)
    reason = "reviews.csv row 17 (line 18): 1 cell where the header has 2"
    assert bench.told("job.cancelled", job) == [{"reason": reason, "tasks": 16, "suites": 8}]
    assert sum(n for e in bench.told("suites.opened", job) for n in e["counts"]) == 16
    assert bench.requests.status(job)["state"] == "cancelled"
    assert bench.requests.status(job)["error"] == reason
    assert bench.requests.audit(job)["spooled"] == 0


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ('{"id": "b", "x"\n', "torn or wrong JSON"),
        ("[]\n", "an object is expected"),
        ({"id": "b"}, "the column 'x' is missing"),
        ({"id": "r0", "x": 1}, "the id 'r0' was there before"),
        ({"id": "b", "x": [[[1]]] * 10 + [{"k": None}]}, None),
    ],
)
def test_bad_rows_stop_or_are_set_aside(tmp_path: Path, bad: Any, said: str | None) -> None:
    """Every kind of bad row ends the job, or with set-aside fails alone and keeps its position."""
    path = lines(tmp_path, [*items(3), bad, {"id": "last", "x": 9}])
    for policy in ("stop", "set-aside"):
        bench = Bench(tmp_path)
        job = bench.requests.submit(job_spec({"path": path, "id": "id", "input": "x", "on_bad_row": policy}))
        bench.run(job)
        refused = {
            p: r for e in bench.told("suites.opened", job) for some in e["refused"] if some for p, r in some.items()
        }
        if said is None:
            assert (len(sent(bench, job)), refused) == (5, {})
        elif policy == "stop":
            (told,) = bench.told("job.cancelled", job)
            assert said in told["reason"]
            assert told["reason"].startswith("items.jsonl row 4 (line 4): ")
            assert told["tasks"] == 3
        else:
            assert sent(bench, job) == {0: 0, 1: 1, 2: 2, 4: 9}
            assert refused[3]["code"] == "bad-row"
            assert said in refused[3]["message"]
            assert bench.told("job.sealed", job) == [{"tasks": 5, "suites": 3}]
            assert bench.requests.status(job)["refused"] == 1


def test_a_value_that_cannot_travel_is_a_bad_row(tmp_path: Path) -> None:
    """What only cutting finds out stops the job as well, at its own row."""
    bench = Bench(tmp_path)
    deep = "[" * 1023 + "]" * 1023
    path = lines(tmp_path, [*items(3), '{"id": "b", "x": ' + deep + "}\n"])
    job = bench.requests.submit(job_spec({"path": path, "id": "id", "input": "x"}))
    bench.run(job)
    (told,) = bench.told("job.cancelled", job)
    assert told["reason"].startswith("items.jsonl row 4 (line 4): ")
    assert told["tasks"] == 3


def test_a_payload_over_the_limit_fails_alone(tmp_path: Path) -> None:
    """One large payload is refused with the code too-large, whatever on_bad_row says; the rest go on."""
    bench = Bench(tmp_path)
    path = lines(tmp_path, [{"x": "a"}, {"x": "y" * (1 << 20)}, {"x": "c"}])
    job = bench.requests.submit(job_spec({"path": path}))
    bench.run(job)
    assert sent(bench, job) == {0: "a", 2: "c"}
    (refused,) = [some for e in bench.told("suites.opened", job) for some in e["refused"] if some]
    assert refused[1]["code"] == "too-large"


def test_a_suite_of_refused_tasks_is_announced_and_not_published(tmp_path: Path) -> None:
    """A suite with nothing to judge is told to the aggregator alone, and takes its place in the window till settled."""
    bench = Bench(tmp_path)
    path = lines(tmp_path, ["torn\n", "torn\n", {"x": 1}])
    job = bench.requests.submit(job_spec({"path": path, "input": "x", "on_bad_row": "set-aside"}))
    bench.run(job)
    assert [s.suite for s in bench.suites(job)] == [1]
    assert [n for e in bench.told("suites.opened", job) for n in e["suites"]] == [0, 1]
    assert bench.requests.audit(job)["settled"] == 2


def test_ids_that_come_twice_are_found_far_apart(tmp_path: Path) -> None:
    """An id that comes again is found exactly, batches and restarts apart; the first one counts."""
    rows = items(3000)
    rows[2500] = {"id": "r1", "x": "again"}
    rows[2501] = {"id": "r2500-2", "x": 0}
    path = lines(tmp_path, rows)
    bench = Bench(tmp_path)
    job = bench.requests.submit(job_spec({"path": path, "id": "id", "input": "x", "on_bad_row": "set-aside"}))
    bench.reader.round()
    bench.publish()
    assert 0 < bench.live(job).tasks < 2500
    bench = Bench(tmp_path)  # as after a crash
    bench.run(job)
    (refused,) = [some for e in bench.told("suites.opened", job) for some in e["refused"] if some]
    assert refused == {
        2500: {"code": "bad-row", "message": "items.jsonl row 2501 (line 2501): the id 'r1' was there before"}
    }
    assert bench.requests.audit(job)["tasks"] == 3000
    bench.read()
    assert bench.store._store.read(lambda c: c.exec_driver_sql("select count(*) from producer_ids").scalar()) == 0


def test_reading_ahead_is_bounded(tmp_path: Path) -> None:
    """No more than so many suites lie in the spool unpublished; what is settled makes room."""
    bench = Bench(tmp_path)
    job = bench.requests.submit(job_spec({"path": lines(tmp_path, items(2000)), "input": "x"}, suite=1, in_flight=40))
    bench.read()
    assert bench.live(job).ahead == 256
    bench.publish()
    assert len(bench.suites(job)) == 40
    bench.read()
    assert bench.live(job).ahead <= 256
    bench.run(job)
    assert sent(bench, job) == {i: i for i in range(2000)}


def test_a_budget_for_later_stages_has_more_read_ahead(tmp_path: Path) -> None:
    """For they get nothing of it until the total is known: by the first news, where the spool holds the whole."""
    bench = Bench(tmp_path)
    stages = [{"judges": [{"judge": "j", "price": 0.1}], "accept": {"agree": 2}}, {"judges": ["k"]}]
    more = {"stages": stages, "budget": 1000, "suite": 1, "in_flight": 40}
    job = bench.requests.submit(job_spec({"path": lines(tmp_path, items(2000)), "input": "x"}, **more))
    bench.read()
    assert bench.live(job).ahead == 2000
    bench.publish()
    assert len(bench.suites(job)) == 40
    assert {news["total"] for news in bench.told("suites.opened", job)} == {2000}


def test_a_crash_anywhere_loses_and_repeats_no_task(tmp_path: Path) -> None:
    """The cursor and the suites are one commit: a producer that begins again goes on with the next row."""
    path = lines(tmp_path, items(2000))
    spec = job_spec({"path": path, "id": "id", "input": "x"}, suite=3, in_flight=5)
    bench = Bench(tmp_path)
    job = bench.requests.submit(spec)
    seen: dict[int, Any] = {}
    for _ in range(5):
        bench.reader.round()
        bench.publish()
        bench.settle(job, sorted(bench.live(job).unsettled)[::2])
        seen |= sent(bench, job)
        bench = Bench(tmp_path)
    bench.run(job)
    seen |= sent(bench, job)
    assert seen == {i: i for i in range(2000)}
    assert bench.told("job.sealed", job)[-1]["tasks"] == 2000


def test_a_source_that_fails_for_a_moment_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the file system is tried again from the cursor, and after some tries ends the job by name."""
    (tmp_path / "reviews.csv").write_text("id,text\n" + "".join(f"{i},x\n" for i in range(2000)))
    bench = Bench(tmp_path)
    job = bench.requests.submit(job_spec({"path": f"{tmp_path}/reviews.csv", "id": "id"}))
    bench.reader.round()
    tasks = bench.live(job).tasks
    real = files.Lines.take

    def broken(*_: Any) -> list[bytes]:
        raise OSError("the share is away")

    monkeypatch.setattr(files.Lines, "take", broken)
    bench.publish()
    bench.settle(job, sorted(bench.live(job).unsettled))
    for _ in range(2):
        bench.clock.turn(60)
        bench.publish()
        bench.reader.round()
    assert (bench.live(job).state, bench.live(job).tasks) == ("open", tasks)
    monkeypatch.setattr(files.Lines, "take", real)
    bench.clock.turn(60)
    bench.reader.round()
    assert bench.live(job).tasks > tasks
    monkeypatch.setattr(files.Lines, "take", broken)
    for _ in range(ATTEMPTS * 2):
        bench.clock.turn(60)
        bench.publish()
        bench.settle(job, sorted(bench.live(job).unsettled))
        bench.reader.round()
        if bench.board.get(job) is None or bench.live(job).state != "open":
            break
    assert bench.requests.status(job)["error"] == f"{tmp_path}/reviews.csv: the share is away"


def test_the_budget_pays_for_some_tasks(tmp_path: Path) -> None:
    """What the first stage costs bounds the tasks that are sent; the others are refused with the reason, none stops."""
    bench = Bench(tmp_path)
    stages = [{"judges": [{"judge": "j", "price": 0.1}, {"judge": "k", "judgments": 2, "price": 0.2}]}]
    spec = job_spec({"path": lines(tmp_path, items(5)), "id": "id", "input": "x"}, stages=stages, budget=1.6)
    assert spec.affordable == 3
    job = bench.requests.submit(spec)
    bench.run(job)
    assert sorted(sent(bench, job)) == [0, 1, 2]
    refused = {int(p): said["code"] for e in bench.told("suites.opened", job) for r in e["refused"] if r
               for p, said in r.items()}  # fmt: skip
    assert refused == {3: "budget", 4: "budget"}
    assert bench.told("job.sealed", job) == [{"tasks": 5, "suites": 3}]


@pytest.mark.parametrize(("more", "told"), [({"budget": 5}, {5}), ({}, {None})])
def test_how_many_tasks_there_are_is_told_before_all_are_out(
    tmp_path: Path, more: dict[str, Any], told: set[int | None]
) -> None:
    """Where a budget is to last for what comes behind, and the source is read; other jobs are told at their end."""
    bench = Bench(tmp_path)
    stages = [
        {"judges": [{"judge": "j", "price": 0.1}], "accept": {"agree": 2}},
        {"judges": [{"judge": "k", "price": 0.1}]},
    ]
    source = {"path": lines(tmp_path, items(5)), "id": "id", "input": "x"}
    job = bench.requests.submit(job_spec(source, stages=stages, **more))
    bench.run(job)
    assert {news.get("total") for news in bench.told("suites.opened", job)} == told
