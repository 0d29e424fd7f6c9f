"""Writes a software bill of materials (CycloneDX 1.5, JSON) of each package, with what ``uv.lock`` pins below it.

    python scripts/sbom.py [FOLDER]         # out/sbom/manyhands-worker.cdx.json and the like

The same lock gives the same bytes: neither the time nor a serial number is in it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from locked import PACKAGES, ROOT, export


def bill(package: str) -> dict[str, Any]:
    """The bill of one package; components from the index have their hashes and a package URL."""
    said: dict[str, Any] = json.loads(export("cyclonedx1.5", package, "--preview-features", "sbom-export"))
    said.pop("serialNumber", None)
    said["metadata"].pop("timestamp", None)
    return said


def main() -> int:
    """Write the bills."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "out" / "sbom"
    folder.mkdir(parents=True, exist_ok=True)
    for package in PACKAGES:
        file, said = folder / f"{package}.cdx.json", bill(package)
        file.write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")
        sys.stdout.write(f"{file}: {len(said['components'])} components\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
