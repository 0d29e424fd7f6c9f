"""The bill of materials and the audit of dependencies say what is so, and no more."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_bills_of_materials(tmp_path: Path) -> None:
    """Each package has a bill; every component from the index has the version and the hashes of the lock."""
    done = subprocess.run(
        [sys.executable, "scripts/sbom.py", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    pinned = {p["name"]: p for p in tomllib.loads((ROOT / "uv.lock").read_text())["package"]}
    for name in ("producer", "worker", "aggregator", "cli"):
        bill = json.loads((tmp_path / f"manyhands-{name}.cdx.json").read_text())
        assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5")
        assert "serialNumber" not in bill
        components = {each["name"]: each for each in bill["components"]}
        assert "pytest" not in components
        assert components["pika"]["version"] == pinned["pika"]["version"]
        hashes = {h["content"] for each in components["pika"]["externalReferences"] for h in each["hashes"]}
        assert hashes == {
            of["hash"].removeprefix("sha256:") for of in (*pinned["pika"]["wheels"], pinned["pika"]["sdist"])
        }


VULNERABLE = {"name": "b", "version": "2", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3"]}]}


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        ([{"name": "a", "version": "1", "vulns": []}], 0, "1 packages checked, 0 with"),
        ([{"name": "a", "version": "1", "vulns": []}, VULNERABLE], 1, "b 2: PYSEC-1, mended in 3"),
        ([{"name": "a", "skip_reason": "not found on PyPI"}], 4, "not audited: 1 of 1 packages (a), for the index"),
        ([{"name": "a", "skip_reason": "not found on PyPI"}, VULNERABLE], 1, "1 packages checked, 1 with"),
        (None, 4, "not audited: 1 packages, for the vulnerability"),
    ],
)
def test_audit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], answer: Any, code: int, said: str
) -> None:
    """All is well only where all packages were checked; what is not known is not taken for good."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    audit: Any = importlib.import_module("audit")
    stdout = "" if answer is None else json.dumps({"dependencies": answer})
    monkeypatch.setattr(audit, "export", lambda *_: "a==1 --hash=sha256:0\n")
    monkeypatch.setattr(audit, "uv", lambda *_: SimpleNamespace(stdout=stdout, stderr="no route", returncode=1))
    assert audit.main() == code
    told = "".join(capsys.readouterr())
    assert said in told
    assert ("https://pypi.org" in told) is ("not audited" in told)
