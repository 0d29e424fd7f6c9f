"""docs/operations.md names commands, settings, metrics, drills and figures: each is there, and as it says."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import typer
from pydantic_settings import BaseSettings

from manyhands import metrics
from manyhands_aggregator.settings import AggregatorSettings
from manyhands_cli.main import app
from manyhands_producer.settings import ProducerSettings
from manyhands_worker.settings import WorkerSettings

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
#: What stands between backticks or in a block of its own.
CODE = [*re.findall(r"`([^`\n]+)`", PAGE), *"\n".join(re.findall(r"```\n(.*?)```", PAGE, re.DOTALL)).splitlines()]
COMMANDS = sorted(
    {found.group(1) for line in CODE if (found := re.match(r"\s*(?:[A-Z_]+=\S+ )?manyhands ([a-z].*)", line))}
)
SETTINGS: tuple[type[BaseSettings], ...] = (ProducerSettings, WorkerSettings, AggregatorSettings)
#: What the page quotes of others: RabbitMQ, the AMQP library, PostgreSQL, SQLite, Python's signals.
THEIRS = {
    "CONNECTION_FORCED", "PRECONDITION_FAILED", "NO_ROUTE", "inequivalent arg", "timed out", "consumer_timeout",
    "missed heartbeats from client", "No activity or too many missed heartbeats", "Transport indicated EOF",
    "Stream connection lost", "Connection reset by peer", "Connection refused", "terminating connection",
    "could not serialize access", "read-only transaction", "No space left on device", "database or disk is full",
    "lock timeout", "statement timeout", "deadlock detected", "database is locked",
    "QueuePool limit", "SIGKILL", "SIGSEGV", "?heartbeat=", "rabbitmq.conf",
}  # fmt: skip
#: How far a figure for planning may be from the one that was measured last.
NEAR = 0.1


#: The files of tests, and the names of all tests in them.
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))
DEFINED = {name for file in TESTS for name in re.findall(r"^ *def (test_\w+)", file.read_text(encoding="utf-8"), re.M)}


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_is_one(line: str) -> None:
    """It exists, and has the options that it is given."""
    command: Any = typer.main.get_command(app)
    words = line.removesuffix("…").split()
    while words and hasattr(command, "commands"):
        found = command.commands.get(words.pop(0))
        assert found is not None, line
        command = found
    options = {name for each in command.params for name in each.opts}
    assert {word for word in words if word.startswith("-")} <= options


def test_a_setting_is_one() -> None:
    """Of a process, of the command line, or of compose."""
    known = {f"MANYHANDS_{name.upper()}" for one in SETTINGS for name in one.model_fields}
    known |= set(re.findall(r"MANYHANDS_\w+", (ROOT / ".env.example").read_text(encoding="utf-8")))
    known |= set(re.findall(r"MANYHANDS_\w+", (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")))
    named = {name for line in CODE for name in re.findall(r"MANYHANDS_[A-Z_]*[A-Z]\b", line)}
    assert len(named) > 20
    assert named <= known


def test_a_metric_is_one() -> None:
    """It is in the catalogue."""
    named = set(re.findall(r"`(manyhands_\w+)`", PAGE))
    text = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert len(named) >= 3
    assert named <= set(re.findall(r"`(manyhands_\w+)`", text))
    assert metrics  # the page of metrics is made from it, and `make check` compares them


def _source() -> str:
    folders = ("core", "services", "service", "cli")
    return "".join(file.read_text(encoding="utf-8") for each in folders for file in (ROOT / each).rglob("*.py"))


def test_what_a_fault_looks_like_is_what_is_said() -> None:
    """Each log line, field, code and metric that the page tells faults by is in the source, in these words."""
    source = _source()
    section = PAGE.partition("\n## Faults\n")[2].partition("\n## ")[0]
    store = PAGE.partition("\n### ManyhandsStoreRetries\n")[2].partition("\n### ")[0].partition("| it says |")[2]
    words = set(re.findall(r"`([^`\n]+)`", section + store))
    words -= {word for word in words if re.match(r"(manyhands|rabbitmqctl) |MANYHANDS_|/|missing\.|tests/", word)}
    events = set(re.findall(r"_log\.\w+\(\s*(?:level, )?\"([^\"]+)\"", source))
    assert len(words & events) >= 20
    counted = {word for word in words if word.startswith("manyhands_")}
    assert len(counted) >= 10
    assert counted <= set(re.findall(r"`(manyhands_\w+)`", (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")))

    def said(word: str) -> bool:
        start = word.partition("…")[0].rstrip()
        return f'"{start}' in source or f"{word}=" in source

    assert sorted(word for word in words - counted - THEIRS if not said(word)) == []
    assert words >= THEIRS, "what is no longer quoted"


def test_each_fault_has_a_test_of_its_name() -> None:
    """In the folder of faults, and it waits for what is to come: none there sleeps but what plays a handler."""
    text = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")
    section = text.partition("\n## Each fault by its name\n")[2].partition("\n## ")[0]
    files = sorted((ROOT / "tests" / "fault").glob("*.py"))
    code = {
        file.name: re.sub(r'HANDLERS = f?""".*?"""', "", file.read_text(encoding="utf-8"), flags=re.S) for file in files
    }
    named = set(re.findall(r"`(test_\w+)`", section))
    assert len(named) >= 45
    assert named <= {name for one in code.values() for name in re.findall(r"^def (test_\w+)", one, re.M)}
    assert [name for name, one in code.items() if re.search(r"time\.sleep\(", one)] == []


def test_a_code_of_dead_letters_is_one() -> None:
    """What the page says to replay is what the services say."""
    section = PAGE.partition("\nWhat to replay when:")[2].partition("\n")[0]
    said = _source()
    codes = re.findall(r"`([a-z-]+)`", section)
    assert len(codes) >= 9
    assert [code for code in codes if f'"{code}"' not in said] == []


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/*.md")), ids=lambda page: page.name)
def test_a_drill_is_there(page: Path) -> None:
    """Every test that a page names exists: by its file, by its name, and by its name in a file where it says so."""
    text = page.read_text(encoding="utf-8")
    for file, name in re.findall(r"(tests/[\w/]+\.py)(?:::(\w+))?", text):
        assert (ROOT / file).is_file(), file
        assert not name or f"def {name}(" in (ROOT / file).read_text(encoding="utf-8"), name
    assert set(re.findall(r"`(test_\w+\.py)`", text)) <= {file.name for file in TESTS}
    assert set(re.findall(r"`(test_\w+)`", text)) <= DEFINED


def test_the_guarantees_name_tests() -> None:
    """Each line that promises something names what shows it."""
    text = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")
    promises = text.partition("## Promised")[2].partition("## Not promised")[0]
    lines = [line for line in promises.splitlines() if line.startswith("| **")]
    assert len(lines) >= 10
    assert [line for line in lines if not re.search(r"test_\w+", line.split("|")[3])] == []


def _said(pattern: str) -> list[float]:
    found = re.search(pattern, PAGE)
    assert found, pattern
    return [float(number.replace(",", "")) for number in found.groups()]


def test_the_figures_for_planning_are_those_measured() -> None:
    """Those that `make bench` measures, too, are within a tenth of what it found."""
    cases: dict[str, Any] = json.loads((ROOT / "benchmarks" / "results.json").read_text(encoding="utf-8"))["cases"]
    found = {name: case["median"] for name, case in cases.items()}
    one, eight, times = _said(r"at rest\): (\d+) tasks a second and (\d+), \*\*([\d.]+) times")
    (singles,) = _said(r"suites of 1 some ([\d,]+) messages")
    (publish,) = _said(r"alone takes some ([\d,]+) confirmed")
    producer, aggregator = _said(r"producer, aggregator \| (\d+) and (\d+) MiB at most")
    for said, measured in (
        (one, found["scaling"]["tasks_per_second_of_1"]),
        (eight, found["scaling"]["tasks_per_second_of_8"]),
        (times, found["scaling"]["times"]),
        (singles, found["singles-apart"]["messages_per_second"]),
        (publish, found["publish"]["confirmed_per_second"]),
        (publish, found["publish"]["taken_per_second"]),
        (producer, found["memory"]["producer_mib_at_most"]),
        (aggregator, found["memory"]["aggregator_mib_at_most"]),
    ):
        assert measured == pytest.approx(said, rel=NEAR)
