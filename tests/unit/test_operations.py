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
#: How far a figure for planning may be from the one that was measured last.
NEAR = 0.1


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


def test_a_code_of_dead_letters_is_one() -> None:
    """What the page says to replay is what the services say."""
    section = PAGE.partition("\nWhat to replay when:")[2].partition("\n")[0]
    said = "".join(
        file.read_text(encoding="utf-8") for folder in ("core", "services") for file in (ROOT / folder).rglob("*.py")
    )
    codes = re.findall(r"`([a-z-]+)`", section)
    assert len(codes) >= 9
    assert [code for code in codes if f'"{code}"' not in said] == []


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/*.md")), ids=lambda page: page.name)
def test_a_drill_is_there(page: Path) -> None:
    """Every test that a page names exists, by its file, and where it says so by its name."""
    for file, name in re.findall(r"(tests/[\w/]+\.py)(?:::(\w+))?", page.read_text(encoding="utf-8")):
        assert (ROOT / file).is_file(), file
        assert not name or f"def {name}(" in (ROOT / file).read_text(encoding="utf-8"), name


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
