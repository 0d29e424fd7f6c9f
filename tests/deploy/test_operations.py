"""The commands for compose in docs/operations.md, as they stand there: an upgrade, a back-up and a restore."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.deploy.docker import ROOT, docker, image, images
from tests.deploy.test_compose import Installation
from tests.services import wait_until

pytestmark = pytest.mark.timeout(1800)

PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
MANYHANDS = "docker compose run --rm cli"
JOB = "drill"
TASKS, JUDGMENTS = 1797, 3 * 1797
#: Judgments after which the back-up is taken.
HALF = 500


class Operator:
    """Somebody with the page and a shell, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.installation = Installation(folder)
        self.project = self.installation.env["COMPOSE_PROJECT_NAME"]
        self._folder = folder

    def types(self, commands: str, **settings: str) -> str:
        """Run commands, each of which must end well; what they printed."""
        env = {**os.environ, **self.installation.env, "COMPOSE_FILE": str(ROOT / "docker-compose.yml"), **settings}
        for volume in ("rabbitmq", "postgres"):
            commands = commands.replace(f"manyhands_{volume}", f"{self.project}_{volume}")
        done = subprocess.run(
            ["sh", "-eu"],
            input=commands,
            capture_output=True,
            text=True,
            cwd=self._folder,
            env=env,
            timeout=900,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def progress(self) -> dict[str, Any]:
        """What the aggregator says of the job."""
        headers = {"Authorization": f"Bearer {(self.installation.secrets / 'api_token').read_text()}"}
        url = f"{self.installation.url('aggregator', 8103)}/api/jobs/{JOB}"
        said: dict[str, Any] = httpx.get(url, headers=headers, timeout=30).json()
        return said

    def half_done(self) -> None:
        """Some of the job is judged; the workers are stopped, and nothing moves."""
        wait_until(lambda: self.progress().get("judgments", 0) >= HALF, 300, "a part of the job", every=0.2)
        self.types("docker compose stop worker")
        assert self.progress()["state"] == "open"

    def completes(self) -> None:
        """The job ends with every answer, and balances."""
        wait_until(lambda: self.progress()["state"] != "open", 300, "the job's end")
        said = self.progress()
        assert (said["state"], said["answered"], said["judgments"]) == ("complete", TASKS, JUDGMENTS), said
        self.types(f"{MANYHANDS} audit {JOB}")  # ends with 1 where it does not balance


@pytest.fixture
def operator(tmp_path: Path) -> Iterator[Operator]:
    """An operator with an installation that runs, and a job that waits for workers."""
    images()
    made = Operator(tmp_path)
    try:
        made.installation.up()
        submit = MANYHANDS.replace("--rm", f"--rm --volume '{ROOT / 'examples'}:/data:ro'")
        made.types(f"docker compose stop worker; {submit} submit /data/digits/job.yaml --upload --id {JOB}")
        yield made
    finally:
        made.installation.down()


def block(command: str) -> str:
    """The block of the page in which a command stands."""
    found = [one for one in re.findall(r"^```\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE) if command in one]
    assert len(found) == 1, command
    return str(found[0])


def test_back_up_and_restore(operator: Operator) -> None:
    """Half done, backed up, both volumes removed, restored: the job goes on, and its roles and users are there."""
    operator.types("docker compose up --detach --no-deps --scale worker=1 worker")
    operator.half_done()
    operator.types(block("pg_dump --username"))
    operator.types(block("docker volume rm"))
    operator.completes()


def test_upgrade(operator: Operator) -> None:
    """Every service gets another version of its image while the job is open."""
    for name in ("producer", "aggregator", "cli", "digits"):
        docker("tag", image(name), f"manyhands-{name}:{operator.project}")
    settings = {
        "MANYHANDS_VERSION": operator.project, "MANYHANDS_WORKER_IMAGE": f"manyhands-digits:{operator.project}"
    }  # fmt: skip
    try:
        operator.types(block("docker compose run --rm migrate\n"), **settings)
        running = {each["Config"]["Image"] for each in operator.installation.containers() if each["State"]["Running"]}
        assert {image.rpartition(":")[2] for image in running if "manyhands" in image} == {operator.project}
        operator.completes()
        operator.installation.down()
    finally:
        for name in ("producer", "aggregator", "cli", "digits"):
            docker("image", "rm", f"manyhands-{name}:{operator.project}")
