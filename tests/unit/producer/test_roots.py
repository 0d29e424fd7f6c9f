"""Which files and URLs a job that came over the API may read."""

from __future__ import annotations

from pathlib import Path

import pytest

from manyhands_producer.sources import Roots

#: Paths and URLs as a requester may write them, with whether they lie in the roots ``{root}`` and these two.
URLS = ("s3://bucket/data/", "sftp://host/in")
WRITTEN = {
    "{root}/a.csv": True,
    "{root}/x/../a.csv": True,
    "a.csv": True,
    "{root}": True,
    "file://{root}/a.csv": True,
    "file:{root}/a.csv": True,
    "{root}/../a.csv": False,
    "{root}-2/a.csv": False,
    "../a.csv": False,
    "/etc/passwd": False,
    "file:///etc/passwd": False,
    "file:/etc/passwd": False,
    "local:///etc/passwd": False,
    "FILE:///etc/passwd": False,
    "~/a.csv": False,
    "~root/a.csv": False,
    "file:~/a.csv": False,
    "file://~/a.csv": False,
    "{root}/link/passwd": False,
    "{root}/round/a.csv": False,
    "{root}/a.csv\0": False,
    "data:text/csv,a": False,
    "s3://bucket/data/a.csv": True,
    "s3://bucket/data/2026..2027/a.csv": True,
    "s3://bucket/data-2/a.csv": False,
    "s3://bucket/data/../a.csv": False,
    "s3://bucket/data/%2e%2e/a.csv": False,
    "s3://bucket/data/%252e%252e/a.csv": False,
    "s3://bucket/data/..\\a.csv": False,
    "s3://bucket/data/.\t./a.csv": False,
    "s3://other/data/a.csv": False,
    "sftp://host/in/a.csv": True,
    "sftp://host/in/?/../../etc/passwd": False,
    "sftp://host/in/#/../../etc/passwd": False,
    "sftp://host/in/..;/a.csv": False,
    "sftp://host@elsewhere/in/a.csv": False,
    "http://169.254.169.254/latest/meta-data/a.csv": False,
    "simplecache::file:///etc/passwd": False,
    "zip://x::s3://bucket/data/a.zip": False,
}


@pytest.mark.parametrize("path", WRITTEN)
def test_sources_lie_in_the_roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    """Only what lies in one of the roots may be read, whichever way its path is written."""
    root, home = tmp_path / "data", tmp_path / "home"
    for folder in (root, home):
        folder.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(root)
    (root / "link").symlink_to("/etc")
    (root / "round").symlink_to("round")
    assert Roots([str(root), *URLS]).hold(path.format(root=root)) is WRITTEN[path]


def test_without_a_root_nothing_may_be_read(tmp_path: Path) -> None:
    """No folder and no URL is in no roots."""
    assert not any(Roots([]).hold(path) for path in (str(tmp_path), "s3://bucket/a.csv", "a.csv"))


def test_what_is_private_lies_in_no_root(tmp_path: Path) -> None:
    """The producer's own secrets are never read for a job, not even as files of a folder around them."""
    secrets, key = tmp_path / "run" / "secrets", tmp_path / "tls.key"
    secrets.mkdir(parents=True)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "link").symlink_to(secrets)
    roots = Roots(["/"], never=[secrets, key])
    for path in (secrets / "manyhands_store", secrets, secrets.parent, key, tmp_path / "data" / "link" / "x", "/"):
        assert not roots.hold(str(path)), path
    assert roots.hold(str(tmp_path / "data"))
