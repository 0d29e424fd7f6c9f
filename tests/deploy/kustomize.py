"""Renders deploy/k8s and every combination of its parts with `kubectl kustomize`, or what else renders it."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[2]
TREE = ROOT / "deploy/k8s"
#: What the Go module proxy is asked for where there is Go and neither kubectl nor kustomize.
KUSTOMIZE = "sigs.k8s.io/kustomize/kustomize/v5@v5.7.1"

Object = dict[str, Any]


class NoKustomizeError(Exception):
    """There is no kustomize, and none could be got."""


@functools.cache
def program() -> tuple[str, ...]:
    """The command that renders a folder: kubectl, kustomize, one built by Go, or Debian's kubectl; in this order."""
    built = ROOT / ".venv/bin/kustomize"
    if shutil.which("kubectl") and _works(("kubectl", "kustomize")):
        return ("kubectl", "kustomize")
    for name in ("kustomize", str(built)):
        if shutil.which(name):
            return (name, "build")
    tried = []
    if shutil.which("go"):
        done = _run(["go", "install", KUSTOMIZE], env={**os.environ, "GOBIN": str(built.parent), "GOFLAGS": "-mod=mod"})
        if done.returncode == 0:
            return (str(built), "build")
        tried.append(f"go install {KUSTOMIZE}: {done.stderr[-300:]}")
    if os.geteuid() == 0 and shutil.which("apt-get"):
        for command in (["update"], ["install", "-y", "--no-install-recommends", "kubernetes-client"]):
            done = _run(["apt-get", "-qq", *command], env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})
        if shutil.which("kubectl"):
            return ("kubectl", "kustomize")
        tried.append(f"apt-get install kubernetes-client: {done.stderr[-300:]}")
    said = "; ".join(tried) or "there is no Go either, and no apt-get for root"
    raise NoKustomizeError(f"install kubectl (1.27 or newer) or kustomize (5 or newer): {said}")


def _works(command: tuple[str, ...]) -> bool:
    return _run([*command, "--help"]).returncode == 0


def _run(command: list[str], env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=300, env=env)


def render(folder: Path) -> list[Object]:
    """The objects of a folder."""
    done = _run([*program(), str(folder)])
    assert done.returncode == 0, f"{folder}: {done.stderr}"
    return parse(done.stdout)


def parse(text: str) -> list[Object]:
    """The objects in YAML, as plain values."""
    found: list[Object] = json.loads(json.dumps([one for one in YAML(typ="safe").load_all(text) if one]))
    return found


def variants(folder: Path) -> dict[str, Path]:
    """Every overlay, worker and combination of components, by name; made in copies of the tree below ``folder``."""
    found = {f"{kind}/{one.name}": one for kind in ("overlays", "workers") for one in _folders(TREE / kind)}

    def copy(name: str) -> Path:
        shutil.copytree(TREE, folder / name)
        return folder / name

    tree = copy("hpa")  # the plain autoscaler everywhere
    for worker in _folders(tree / "workers"):
        _edit(worker / "kustomization.yaml", "components/keda", "components/hpa")
        found[f"workers/{worker.name} with hpa"] = worker
    file = tree / "overlays/production/kustomization.yaml"
    _edit(file, "  - keda.yaml # not with components/hpa\n", "")
    found |= {f"overlays/{name} with hpa": tree / "overlays" / name for name in ("local", "production")}

    for without in ("tls", "deletion-cost"):
        tree = copy(f"without-{without}")
        file = tree / "overlays/production/kustomization.yaml"
        lines = file.read_text().splitlines(keepends=True)
        file.write_text("".join(line for line in lines if f"components/{without}" not in line))
        found[f"overlays/production without {without}"] = file.parent

    tree = copy("local-all")  # whatever is optional, on the small one
    _edit(
        tree / "overlays/local/kustomization.yaml",
        "patches:\n",
        "components: [../../components/tls, ../../components/deletion-cost]\npatches:\n",
    )
    found["overlays/local with tls, deletion-cost"] = tree / "overlays/local"

    tree = copy("llm")  # one that calls out
    _edit(tree / "workers/svm/kustomization.yaml", "components/keda", "components/llm, ../../components/keda")
    found["workers/svm with llm"] = tree / "workers/svm"
    found["overlays/production with llm"] = tree / "overlays/production"

    tree = copy("spam")  # a judge added as deploy/k8s/workers/README.md says
    shutil.copytree(tree / "workers/svm", tree / "workers/spam")
    _edit(tree / "workers/spam/kustomization.yaml", "svm", "is_spam")
    _edit(tree / "workers/spam/kustomization.yaml", "nameSuffix: -is_spam", "nameSuffix: -is-spam")
    file = tree / "overlays/production/kustomization.yaml"
    _edit(file, "  - ../../workers/svm\n", "  - ../../workers/svm\n  - ../../workers/spam\n")
    found["overlays/production with another judge"] = file.parent
    return found


def main(folder: Path) -> None:
    """Write every object of every overlay into the folder, once: for programs that look at files."""
    seen: set[str] = set()
    with tempfile.TemporaryDirectory() as copies:
        for which, source in variants(Path(copies)).items():
            if not which.startswith("overlays/"):
                continue
            found = {json.dumps(one): one for one in render(source)}
            new = [one for text, one in found.items() if text not in seen]
            seen.update(found)
            text = "".join(f"---\n{json.dumps(one, indent=1)}\n" for one in new)
            (folder / f"{which.replace('/', '-').replace(' ', '-')}.yaml").write_text(text, encoding="utf-8")


def _folders(folder: Path) -> list[Path]:
    return sorted(one.parent for one in folder.glob("*/kustomization.yaml"))


def _edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text, f"{file} has no {old!r}"
    file.write_text(text.replace(old, new))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
