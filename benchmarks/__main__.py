"""``python -m benchmarks``: measure, and write down what came out."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections import defaultdict
from dataclasses import asdict
from datetime import UTC, datetime
from shutil import rmtree
from typing import Any

from benchmarks import inference, machine, micro, ours, recovery, report, scaling
from benchmarks.children import ROOT
from benchmarks.context import FULL, QUICK, Case, Context
from benchmarks.rivals import cases as rivals
from tests import services

#: In this order within a round, so that what is compared is measured side by side.
CASES = (
    Case(name="plain", title="plain loop, one process", run=rivals.plain),
    Case(name="suites", title="Manyhands, suites of 500, `manyhands run`", run=ours.suites),
    Case(name="celery", title="Celery, a message a task", run=rivals.celery),
    Case(name="apart", title="Manyhands, suites of 500, three processes", run=ours.apart),
    Case(name="celery-chunks", title="Celery, `chunks(500)`", run=rivals.celery_chunks),
    Case(name="singles", title="Manyhands, suites of 1, `manyhands run`", run=ours.singles),
    Case(name="dramatiq", title="Dramatiq, no results", run=rivals.dramatiq),
    Case(name="singles-apart", title="Manyhands, suites of 1, three processes", run=ours.singles_apart),
    Case(name="latency", title="a single task, idle system", run=ours.latency),
    Case(name="codec", title="codec, suites of 500, one core", run=micro.encoding),
    Case(name="publish", title="adapter, quorum queue, window 1,000", run=micro.publishing),
    Case(name="scaling", title="workers with one child each, 10 ms a task", run=scaling.scaling),
    Case(name="recovery", title="a restart of the broker", run=recovery.recovery, once=True),
    Case(name="truth", title="Dawid-Skene, a million judgments, ten classes", run=inference.truth),
    Case(name="memory", title="memory, suites of 500", run=ours.flat, once=True),
)
RESULTS = ROOT / "benchmarks" / "results.json"
PAGE = ROOT / "docs" / "performance.md"
#: On the disk of the checkout: in a /tmp of memory, stores would sync for nothing.
FOLDER = ROOT / "out" / "bench"


def main() -> int:
    """Measure what was asked for; 1 when a case could not be measured. A missed aim is a result."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # ends what was started, as Ctrl-C does
    options = _options()
    sizes = QUICK if options.quick else FULL
    chosen = [case for case in CASES if not options.only or case.name in options.only]
    whole = not options.quick and not options.only
    work = FOLDER / "work"
    rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    hardware = machine.machine()
    runs: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    failed: dict[str, str] = {}
    with services.rabbitmq() as rabbit:
        _say(f"on {rabbit}")
        context = Context(broker=rabbit.url, folder=work, sizes=sizes)
        for number in range(sizes.rounds):
            for case in chosen:
                if case.name in failed or (case.once and number + 1 < sizes.rounds):
                    continue
                begun = time.monotonic()
                try:
                    figures = case.run(context)
                except Exception as error:  # noqa: BLE001  one case that fails must not cost the others
                    failed[case.name] = "\n".join(
                        [f"{type(error).__name__}: {error}", *getattr(error, "__notes__", ())]
                    )
                    _say(f"[{number + 1}/{sizes.rounds}] {case.name}: FAILED: {failed[case.name]}")
                    continue
                for name, value in figures.items():
                    runs[case.name][name].append(value)
                shown = ", ".join(f"{name} {value:,.3f}" for name, value in figures.items())
                _say(f"[{number + 1}/{sizes.rounds}] {case.name}: {shown} ({time.monotonic() - begun:.0f} s)")
        versions = machine.versions(str(rabbit))
    rmtree(work, ignore_errors=True)
    results: dict[str, Any] = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "quick": options.quick,
        "machine": hardware,
        "versions": versions,
        "sizes": asdict(sizes),
        "aims": report.judged(runs),
        "cases": {
            case.name: {"title": case.title, "median": report.medians(runs)[case.name], "runs": runs[case.name]}
            for case in chosen
            if case.name in runs
        },
        "failed": failed,
    }
    target = RESULTS if whole else FOLDER / "results.json"
    target.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    if whole and not failed:
        report.put_into(PAGE, report.table(results))
    print(f"\n{report.table(results)}\nwritten to {target.relative_to(ROOT)}")
    return 1 if failed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure how fast Manyhands is.")
    parser.add_argument("--quick", action="store_true", help="less of everything, one round; not written to docs/")
    parser.add_argument(
        "--only",
        action="append",
        choices=[case.name for case in CASES],
        metavar="CASE",
        help=f"only this case, may be repeated; not written to docs/: {', '.join(case.name for case in CASES)}",
    )
    return parser.parse_args()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
