"""A language model as a judge, from job file to answers."""

from __future__ import annotations

import csv
import json
import shutil
import sqlite3
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from manyhands.codec import JUDGMENTS, decode
from manyhands.messages import Judgments
from tests.e2e.processes import EXAMPLES, command
from tests.llm import Response, answered, completion, failed, payload, serving

KEY = "sk-xq7Zmark"
#: Words by which the test's model knows what a letter wants.
WORDS = {"money": "refund", "payments": "refund", "crackle": "repair", "修": "repair", "hinge": "repair",
         "?": "information", "？": "information"}  # fmt: skip


def test_the_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every letter is answered, though the server stumbles, rambles and makes options up; what it cost is kept."""
    monkeypatch.setenv("LLM_API_KEY", KEY)
    seen: Counter[str] = Counter()
    lock = threading.Lock()
    trouble = {
        "kettle": failed(500, f"no, {KEY}"), "dishwasher": failed(429, Retry_After="0"),
        "crackle": Response(body=b"{", cut=True), "parcel": completion(f"I think that {KEY}"), "1182": answered("cake"),
    }  # fmt: skip

    def model(asked: dict[str, Any]) -> Response:
        letter = payload(asked).split("<mail>")[1].split("</mail>")[0]
        with lock:
            seen[letter] += 1
            first = seen[letter] == 1
        if first and (said := next((said for word, said in trouble.items() if word in letter), None)) is not None:
            return said
        wants = next((wants for word, wants in WORDS.items() if word in letter), "nothing")
        return answered(wants, usage=(200, 5), tokens=[('{"answer": "', 1, {}), (wants, 0.8, {}), ('"}', 1, {})])

    shutil.copytree(EXAMPLES / "llm", tmp_path / "llm")
    file, out = tmp_path / "llm" / "job.yaml", tmp_path / "out"
    with serving(model) as server:
        text = file.read_text().replace("http://127.0.0.1:8080/v1", server.url)
        file.write_text(text.replace("# api_key_env", "api_key_env").replace("# price", "price"))
        done = command("run", str(file), "--out", str(out), "--children", "1", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["answered"], said["accuracy"]) == (12, 1)
    answers = {row["id"]: row for row in csv.DictReader((out / "answers.csv").open())}
    assert (answers["m10"]["answer"], answers["m10"]["confidence"]) == ("nothing", "1")
    assert sorted(Counter(seen.values()).items()) == [(1, 7), (2, 5)]
    assert all(headers["authorization"] == f"Bearer {KEY}" for headers in server.headers)
    # 12 good answers, one that was none, and one that was no option; the account is kept in millionths
    cost = (12 * (200 * 0.15 + 5 * 0.6) + 2 * (100 * 0.15 + 10 * 0.6)) / 1e6
    assert said["spent"] == pytest.approx(cost, abs=3e-6)
    # what was no option was paid, with its eleventh of what was no answer, and is no judgment that is kept
    assert costs(out) == pytest.approx(cost - 12 / 11 * (100 * 0.15 + 10 * 0.6) / 1e6)
    for left in (path for path in out.rglob("*") if path.is_file()):
        assert KEY.encode() not in left.read_bytes(), left
    assert KEY not in done.stdout + done.stderr


def costs(out: Path) -> float:
    """What all judgments cost together, by what the aggregator keeps of them."""
    (store,) = out.rglob("*-aggregator.db")
    with sqlite3.connect(store) as connection:
        (table,) = connection.execute("select name from sqlite_master where name like '%judgments'").fetchone()
        rows = connection.execute(f"select body, encoding from {table}").fetchall()  # noqa: S608  a name of ours
    total = 0.0
    for body, encoding in rows:
        message = decode(body, JUDGMENTS, encoding)
        assert isinstance(message, Judgments)
        total += sum(cost or 0.0 for cost in message.costs or ())
    return total
