"""Writes deploy/grafana/dashboards; with ``--check`` only says which files are out of date (exit code 1)."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from scripts.dashboards.broker import BROKER
from scripts.dashboards.model import render
from scripts.dashboards.pipeline import PIPELINE
from scripts.dashboards.quality import QUALITY
from scripts.dashboards.workers import WORKERS

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "grafana" / "dashboards"


def main(arguments: Sequence[str] | None = None, folder: Path = FOLDER) -> int:
    """Write or compare every file; one that belongs to no dashboard is removed."""
    parser = argparse.ArgumentParser(prog="python -m scripts.dashboards", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit code 1 if a file is out of date")
    check = parser.parse_args(arguments).check
    wanted = {
        folder / f"{dashboard.name}.json": json.dumps(render(dashboard), indent=1, ensure_ascii=False) + "\n"
        for dashboard in (PIPELINE, WORKERS, QUALITY, BROKER)
    }
    there = {path: path.read_text(encoding="utf-8") for path in folder.glob("*.json")}
    stale = sorted(path for path in wanted.keys() | there.keys() if wanted.get(path) != there.get(path))
    for path in stale:
        if check:
            print(f"{path.name} is out of date; make docs writes it anew")
        elif path in wanted:
            print(f"wrote {path.name}")
            path.write_text(wanted[path], encoding="utf-8")
        else:
            print(f"removed {path.name}")
            path.unlink()
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
