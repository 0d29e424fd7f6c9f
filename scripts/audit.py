"""Asks PyPI for known vulnerabilities of what ``uv.lock`` pins, with pip-audit.

    python scripts/audit.py

Exit code 0: none is known; 1: there are some, listed; 4: the service could not be asked about all of them. What the
images have besides is asked about, too.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from locked import export, uv

FOUND, UNKNOWN = 1, 4

#: What to do where nobody could be asked.
WHERE = (
    "Run this where https://pypi.org itself can be reached, and not a mirror of it: pip-audit asks its JSON API. "
    "Exit code 4: this proves nothing.\n"
)


def main() -> int:
    """Ask, and say what was found."""
    # the command line has all packages; those of the workspace themselves are on no index
    pinned = export("requirements.txt", "manyhands-cli", "--group", "images", "--no-emit-workspace", "--no-header")
    count = sum("==" in line for line in pinned.splitlines())
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "requirements.txt"
        file.write_text(pinned, encoding="utf-8")
        done = uv(
            "run", "--isolated", "--frozen", "--quiet", "--only-group", "audit", "--", "pip-audit", "--disable-pip",
            "--require-hashes", "--progress-spinner", "off", "--format", "json", "-r", str(file),
        )  # fmt: skip
    try:
        asked: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        lines = done.stderr.strip().splitlines()
        sys.stderr.write(f"not audited: {count} packages, for the vulnerability service could not be asked\n")
        sys.stderr.write(f"pip-audit says: {lines[-1] if lines else f'exit code {done.returncode}'}\n{WHERE}")
        return UNKNOWN
    packages = asked["dependencies"]
    # an index without PyPI's own answers (a mirror, say) skips all of them, and pip-audit calls that a success
    skipped = [package["name"] for package in packages if "vulns" not in package]
    bad = [package for package in packages if package.get("vulns")]
    for package in bad:
        for vulnerability in package["vulns"]:
            mended = ", ".join(vulnerability["fix_versions"]) or "no version yet"
            sys.stdout.write(f"{package['name']} {package['version']}: {vulnerability['id']}, mended in {mended}\n")
    if checked := len(packages) - len(skipped):
        sys.stdout.write(f"{checked} packages checked, {len(bad)} with known vulnerabilities\n")
    if skipped:
        some = ", ".join(skipped[:5]) + (", ..." if len(skipped) > 5 else "")
        said = "the index that answers knows no vulnerabilities"
        sys.stderr.write(f"not audited: {len(skipped)} of {len(packages)} packages ({some}), for {said}\n{WHERE}")
    return FOUND if bad else UNKNOWN if skipped else 0


if __name__ == "__main__":
    sys.exit(main())
