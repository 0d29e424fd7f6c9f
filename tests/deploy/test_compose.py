"""docker-compose.yml, really run: started, asked, given a job, looked at from within and ended."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.deploy.docker import ROOT, docker, images, inspect, need_docker, quiet, run
from tests.services import wait_until

pytestmark = pytest.mark.timeout(1800)

#: Seconds from `docker compose up --wait` to the answers of the demo job, with the images built.
FIRST_ANSWER = 60.0
RUNNING = {"rabbitmq": 1, "postgres": 1, "producer": 1, "aggregator": 1, "worker": 2}
#: What runs besides the services that it depends on has ended, and well.
ENDED = {"topology", "migrate"}


class Installation:
    """One project of docker-compose.yml, on free ports and with secrets of its own."""

    def __init__(self, folder: Path) -> None:
        self.secrets = folder / "secrets"
        ports = ("PRODUCER", "AGGREGATOR", "PROMETHEUS", "ALERTMANAGER", "GRAFANA")
        self.env = {
            "COMPOSE_PROJECT_NAME": f"images-{uuid.uuid4().hex[:8]}",
            "MANYHANDS_SECRETS_FOLDER": str(self.secrets),
            "MANYHANDS_VERSION": os.environ.get("VERSION", "dev"),
            **{f"MANYHANDS_{name}_PORT": "0" for name in ports},
        }
        self.calm, self.started = False, 0.0

    def up(self) -> None:
        """`make up`."""
        self.calm, self.started = quiet(), time.monotonic()
        run("sh", "scripts/up", env=self.env)

    def compose(self, *arguments: str, check: bool = True) -> str:
        """`docker compose …`"""
        return run("docker", "compose", *arguments, env=self.env, check=check).stdout

    def containers(self, service: str = "") -> list[dict[str, Any]]:
        """All that Docker knows of the project's containers, or of one service's."""
        ids = self.compose("ps", "--all", "--quiet", *([service] if service else [])).split()
        return [inspect(each) for each in ids]

    def health(self, *services: str) -> set[str]:
        """What their health checks find."""
        return {each["State"]["Health"]["Status"] for service in services for each in self.containers(service)}

    def url(self, service: str, port: int) -> str:
        """Where a service is reached from the host."""
        return f"http://{self.compose('port', service, str(port)).strip()}"

    def down(self) -> None:
        """End it, and remove its volumes."""
        self.compose("--profile", "*", "down", "--volumes", "--timeout", "60")


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A running installation."""
    images()
    started = Installation(tmp_path_factory.mktemp("compose"))
    try:
        started.up()
        yield started
    finally:
        started.down()


def test_the_demo_gives_answers_within_a_minute(installation: Installation) -> None:
    """`docker compose up --wait`, then `run --rm demo`: answers come, all of them in the end, and the books balance.

    The first is there a minute after the start, on a machine that does little else.
    """
    ready = time.monotonic() - installation.started
    command = ["docker", "compose", "run", "--rm", "demo"]
    demo = subprocess.Popen(
        command, env=os.environ | installation.env, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_until(lambda: any(answered for _, _, answered in _jobs(installation)), 300, "the first answer", every=0.2)
    took = time.monotonic() - installation.started
    said, errors = demo.communicate(timeout=300)
    done = time.monotonic() - installation.started
    print(f"\nup after {ready:.1f} s, the demo's first answer after {took:.1f} s, all after {done:.1f} s")
    assert demo.returncode == 0, said + errors
    assert ("answered", "1,797") in {tuple(line.split()) for line in said.splitlines()}
    assert ("conserved", "yes") in {tuple(line.split()) for line in said.splitlines()}
    rows = list(csv.DictReader(line for line in said.splitlines() if line.startswith(("id,", "digit-"))))
    assert [row["id"] for row in rows] == [f"digit-{number:04}" for number in range(10)]
    assert sum(row["answer"] == str(number) for number, row in enumerate(rows)) >= 9
    assert took <= FIRST_ANSWER or not installation.calm


def test_everything_is_healthy_and_in_the_number_asked_for(installation: Installation) -> None:
    """Each service is healthy; what had to be done once has ended with 0."""
    for service, replicas in RUNNING.items():
        found = installation.containers(service)
        assert len(found) == replicas
        assert {each["State"]["Health"]["Status"] for each in found} == {"healthy"}
        assert {each["RestartCount"] for each in found} == {0}
    for service in ENDED:
        assert [each["State"]["ExitCode"] for each in installation.containers(service)] == [0]


def test_no_container_has_a_right_it_does_not_need(installation: Installation) -> None:
    """Read-only root, no capability, no new privileges, not root; limits to CPU, memory and processes: all of them."""
    found = installation.containers()
    assert len(found) >= sum(RUNNING.values()) + len(ENDED)
    for each in found:
        name, host = each["Name"], each["HostConfig"]
        assert host["ReadonlyRootfs"], name
        assert host["CapDrop"] == ["ALL"], name
        assert not host["CapAdd"], name
        assert host["SecurityOpt"] == ["no-new-privileges:true"], name
        assert each["Config"]["User"] not in ("", "root", "0"), name
        assert host["NanoCpus"] > 0, name
        assert host["Memory"] > 0, name
        assert host["PidsLimit"] > 0, name
        if each["State"]["Running"]:
            status = docker("exec", each["Id"], "cat", "/proc/1/status")
            assert "CapEff:\t0000000000000000" in status, name
            assert "NoNewPrivs:\t1" in status, name


def test_a_drain_is_never_cut_short(installation: Installation) -> None:
    """Docker waits longer for a service than the service may take to drain."""
    for service in ("producer", "worker", "aggregator"):
        for each in installation.containers(service):
            env = dict(variable.split("=", 1) for variable in each["Config"]["Env"])
            assert each["Config"]["StopTimeout"] > float(env["MANYHANDS_GRACE"])


def test_secrets_are_files_of_ones_own(installation: Installation) -> None:
    """Each is random and long, in a folder that is its owner's alone; none is in a variable, a command or a log."""
    files = {file.name: file.read_text() for file in installation.secrets.iterdir()}
    assert installation.secrets.stat().st_mode & 0o777 == 0o700
    random = [files[name] for name in files if name.startswith("mh-") or name.endswith(("_password", "token"))]
    assert len(random) == len(set(random)) == 10
    assert {len(secret) for secret in random} == {48}
    told = json.dumps(installation.containers()) + installation.compose("logs") + installation.compose("top")
    assert "manyhands producer" in told
    assert not [secret for secret in random if secret in told]


def test_each_service_reaches_only_what_it_must(installation: Installation) -> None:
    """A worker sees no store and no other's secret; what is published is published on 127.0.0.1 alone."""
    (worker, _) = installation.containers("worker")
    script = "import socket\ntry: socket.getaddrinfo('{}', 1); print('known')\nexcept OSError: print('unknown')"
    for host, known in (("rabbitmq", "known"), ("postgres", "unknown")):
        assert docker("exec", worker["Id"], "python", "-c", script.format(host)) == known
    assert docker("exec", worker["Id"], "ls", "/run/secrets") == "manyhands_broker"
    for each in installation.containers():
        bound = [
            one["HostIp"] for published in (each["HostConfig"]["PortBindings"] or {}).values() for one in published
        ]
        assert set(bound) <= {"127.0.0.1"}
    project = installation.env["COMPOSE_PROJECT_NAME"]
    internal = {name: inspect(f"{project}_{name}")["Internal"] for name in ("broker", "store", "edge")}
    assert internal == {"broker": True, "store": True, "edge": False}


def test_the_api_asks_for_the_token(installation: Installation) -> None:
    """Without it nobody lists jobs; health and metrics are open."""
    url = installation.url("aggregator", 8103)
    assert httpx.get(f"{url}/api/jobs").status_code == 401
    assert isinstance(_jobs(installation), list)
    assert _get(f"{url}/healthz") == {"status": "alive"}


def test_no_default_password_opens_anything(installation: Installation) -> None:
    """Neither RabbitMQ's guest, nor a service with a password that is not its own, gets in anywhere."""
    (producer,) = installation.containers("producer")

    def ask(script: str) -> str:
        return run("docker", "exec", producer["Id"], "python", "-c", script, check=False).stderr

    rabbit = "import pika; pika.BlockingConnection(pika.URLParameters('amqp://{}@rabbitmq/manyhands'))"
    store = "import psycopg; psycopg.connect('postgresql://{}@postgres/manyhands')"
    for known in ("guest:guest", "mh-producer:mh-producer", "mh-admin:"):
        assert "ACCESS_REFUSED" in ask(rabbit.format(known)), known
    for known in ("postgres:postgres", "producer:producer"):
        assert "password authentication failed" in ask(store.format(known)), known
    own = (installation.secrets / "producer_password").read_text()
    assert ask(store.format(f"producer:{own}")) == ""


def test_one_service_cannot_touch_the_tables_of_another(installation: Installation) -> None:
    """Each has a schema of its own, and the other's role has no right to it."""
    for role, other in (("producer", "aggregator"), ("aggregator", "producer")):
        password = (installation.secrets / f"{role}_password").read_text()
        url = f"postgresql://{role}:{password}@127.0.0.1/manyhands"

        def ask(table: str, url: str = url) -> subprocess.CompletedProcess[str]:
            psql = ("docker", "compose", "exec", "-T", "postgres", "psql", url, "-c", f"TABLE {table}")
            return run(*psql, env=installation.env, check=False)

        assert ask(f"{role}.{role}_jobs").returncode == 0
        assert "permission denied for schema" in ask(f"{other}.{other}_jobs").stderr


def test_a_second_up_changes_nothing(installation: Installation) -> None:
    """`make up` again keeps secrets, data and the containers that run."""
    before = {each["Id"] for each in installation.containers() if each["State"]["Running"]}
    kept = {file.name: file.read_bytes() for file in installation.secrets.iterdir()}
    installation.up()
    assert {each["Id"] for each in installation.containers() if each["State"]["Running"]} == before
    assert {file.name: file.read_bytes() for file in installation.secrets.iterdir()} == kept


def test_the_command_is_there_for_jobs_of_ones_own(installation: Installation, tmp_path: Path) -> None:
    """`docker compose run --rm cli …`: a job whose rows the producer reads itself, or one from any folder."""
    cli = ("run", "--rm", "-T", "--no-deps")
    name = f"read-{uuid.uuid4().hex[:8]}"
    installation.compose(*cli, "cli", "submit", "digits/job.yaml", "--id", name, "--wait")
    rows = list(csv.DictReader(installation.compose(*cli, "cli", "results", name).splitlines()))
    assert len(rows) == 1797
    (tmp_path / "two.csv").write_text("id,input\n" + "".join(f"{row},{'0' * 64}\n" for row in "ab"))
    spec = {
        "name": "two", "source": {"path": "two.csv", "id": "id", "input": "input"}, "answer": {"type": "text"},
        "stages": [{"judges": ["svm"]}],
    }  # fmt: skip
    (tmp_path / "two.yaml").write_text(json.dumps(spec))
    tmp_path.chmod(0o755)
    mount = ("--volume", f"{tmp_path}:/data:ro")
    name = f"two-{uuid.uuid4().hex[:8]}"
    installation.compose(*cli, *mount, "cli", "submit", "/data/two.yaml", "--upload", "--id", name, "--wait")
    assert (name, "complete", 2) in _jobs(installation)


def test_health_tells_when_the_broker_is_away_and_all_come_back(installation: Installation) -> None:
    """Without RabbitMQ every service is unhealthy; when each container was restarted, all are healthy as before."""
    services = ("producer", "worker", "aggregator")
    before = _jobs(installation)
    installation.compose("stop", "rabbitmq")
    wait_until(lambda: installation.health(*services) == {"unhealthy"}, 240, "all services to be unhealthy", every=1)
    installation.compose("restart", "--timeout", "60", "rabbitmq", "postgres", *services)
    wait_until(lambda: installation.health(*RUNNING) == {"healthy"}, 240, "everything to be healthy again", every=1)
    assert _jobs(installation) == before


def test_a_new_password_takes_the_place_of_the_old(installation: Installation) -> None:
    """Its file and the URL made from it removed, `make up`, the service restarted: the old one opens nothing."""
    old = (installation.secrets / "worker_broker").read_text()
    for name in ("mh-worker", "worker_broker"):
        (installation.secrets / name).unlink()
    installation.up()
    installation.compose("restart", "--timeout", "60", "worker")
    wait_until(lambda: installation.health("worker") == {"healthy"}, 240, "the workers to be back", every=1)
    (worker, _) = installation.containers("worker")
    script = f"import pika; pika.BlockingConnection(pika.URLParameters({old!r}))"
    assert "ACCESS_REFUSED" in run("docker", "exec", worker["Id"], "python", "-c", script, check=False).stderr


def test_what_is_not_well_is_named(installation: Installation) -> None:
    """`make up` ends with what a worker said that lacks its judge, and names an image that is not there."""
    broken = {**installation.env, "MANYHANDS_JUDGES": "nobody"}
    done = run("sh", "scripts/up", env=broken, check=False)
    assert done.returncode != 0
    assert "not everything is well: worker" in done.stderr
    assert "there is no judge nobody" in done.stderr
    done = run("sh", "scripts/up", env={**installation.env, "MANYHANDS_WORKER_IMAGE": "manyhands-absent"}, check=False)
    assert done.returncode == 1
    assert "no image manyhands-absent for the worker" in done.stderr
    installation.up()


def test_it_comes_back_with_what_it_had(installation: Installation) -> None:
    """`docker compose down` and `up` again: every job and answer is still there."""
    before = _jobs(installation)
    installation.compose("down", "--timeout", "60")
    installation.up()
    assert _jobs(installation) == before
    assert before


def test_prometheus_sees_every_process(installation: Installation) -> None:
    """Profile `observe`: Prometheus reaches producer, aggregator, RabbitMQ and both workers, and knows Alertmanager."""
    installation.compose("--profile", "observe", "up", "--wait", "prometheus", "alertmanager")
    url = installation.url("prometheus", 9090)

    def targets() -> dict[str, int]:
        found = _get(f"{url}/api/v1/query?query={quote('count by (job) (up == 1)')}")["data"]["result"]
        return {each["metric"]["job"]: int(each["value"][1]) for each in found}

    wanted = {"producer": 1, "aggregator": 1, "worker": 2}
    wait_until(lambda: wanted.items() <= targets().items() and "rabbitmq" in targets(), 120, "every target to be up")
    down = _get(f"{url}/api/v1/query?query={quote('up == 0')}")["data"]["result"]
    assert not down
    alertmanagers = _get(f"{url}/api/v1/alertmanagers")["data"]["activeAlertmanagers"]
    assert len(alertmanagers) == 1
    for each in installation.containers("prometheus") + installation.containers("alertmanager"):
        assert each["HostConfig"]["ReadonlyRootfs"]
        assert each["HostConfig"]["CapDrop"] == ["ALL"]


def test_every_profile_is_valid() -> None:
    """All services together are a valid file, Grafana among them, and no image is without a version."""
    need_docker()
    said = json.loads(run("docker", "compose", "--profile", "*", "config", "--format", "json").stdout)
    services = said["services"]
    assert {*RUNNING, *ENDED, "cli", "demo", "prometheus", "alertmanager", "grafana"} == set(services)
    assert {name for name, one in services.items() if one.get("profiles") == ["observe"]} == {
        "prometheus", "alertmanager", "grafana",
    }  # fmt: skip
    for name in ("cli", "demo"):
        assert services[name]["profiles"] == [name]
    assert services["worker"]["deploy"]["replicas"] == 2
    for name, one in services.items():
        assert ":" in one["image"], name
        assert not one["image"].endswith(":latest"), name
        assert one["read_only"], name
        assert one["cap_drop"] == ["ALL"], name
        assert {"cpus", "memory", "pids"} <= set(one["deploy"]["resources"]["limits"]), name
        for mounted in one.get("volumes", []):
            assert mounted["type"] != "bind" or Path(mounted["source"]).exists(), f"{name}: {mounted['source']}"


def test_the_example_of_settings_is_true(tmp_path: Path) -> None:
    """Every line of .env.example, taken in, changes nothing: it is a default, and compose understands it."""
    need_docker()
    lines = (ROOT / ".env.example").read_text().splitlines()
    settings = [line.removeprefix("# ") for line in lines if line.startswith("# MANYHANDS_")]
    (tmp_path / "env").write_text("\n".join(settings))
    config = ("--profile", "*", "config")
    assert len(settings) > 10
    taken = run("docker", "compose", "--env-file", tmp_path / "env", *config).stdout
    assert taken == run("docker", "compose", *config).stdout
    (tmp_path / "env").write_text("MANYHANDS_VERSION=1.2.3  # a tag\nMANYHANDS_REGISTRY=example.org/\n")
    other = run("docker", "compose", "--env-file", tmp_path / "env", *config).stdout
    for name in ("cli", "producer", "aggregator", "digits"):
        assert f"image: example.org/manyhands-{name}:1.2.3\n" in other


def test_git_and_builds_never_see_the_secrets() -> None:
    """Neither the folder of secrets nor .env is taken into git, nor into the context of a build."""
    for path in ("secrets/api_token", ".env"):
        assert run("git", "check-ignore", path, check=False).returncode == 0
    assert (ROOT / ".dockerignore").read_text().splitlines()[1] == "*"
    assert (ROOT / ".env.example").read_text().count("PASSWORD") == 0


def _jobs(installation: Installation) -> Any:
    token = (installation.secrets / "api_token").read_text()
    headers = {"Authorization": f"Bearer {token}"}
    answer = httpx.get(f"{installation.url('aggregator', 8103)}/api/jobs", headers=headers, timeout=30)
    return [(job["job"], job["state"], job["answered"]) for job in answer.raise_for_status().json()]


def _get(url: str) -> Any:
    return httpx.get(url, timeout=10).json()
