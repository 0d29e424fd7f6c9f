"""The images: what is in them, what is not, how large they are, and that they run with no rights at all."""

from __future__ import annotations

import csv
import json
import time
import tomllib
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme

from tests.deploy.docker import BASE, RESTRICTED, ROOT, container, docker, image, inspect, quiet, run
from tests.ports import free_ports
from tests.services import Postgres, RabbitMQ, wait_until

pytestmark = pytest.mark.timeout(1800)

SERVICES = {"producer": 8101, "worker": 8102, "aggregator": 8103}
#: Bytes that an image may add to its base.
LIMIT = 120e6
#: Seconds from the start of a worker's container to its first consumer.
START = 3.0


#: Prints scikit-learn and what it needs, directly or not, each with the version that is there.
CLOSURE = """
import re
from importlib.metadata import requires, version
todo, seen = ["scikit-learn"], set()
while todo:
    name = todo.pop()
    if name not in seen:
        seen.add(name)
        print(name, version(name))
        todo += [re.split("[^a-z0-9-]", r.lower())[0] for r in requires(name) or () if "extra ==" not in r]
"""


#: Prints what numpy was built with, and a few things that it has worked out.
NUMPY = """
import json
import numpy as np
blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"]
some = np.sort(np.random.default_rng(1).random(1000))
solved = np.linalg.solve(np.eye(2) / 2, np.ones(2)).round(9).tolist()
print(json.dumps({"blas": blas, "solved": solved, "sorted": bool((np.diff(some) >= 0).all())}))
"""


@pytest.mark.parametrize("name", [*SERVICES, "cli"])
def test_an_image_is_small(name: str) -> None:
    """It adds at most 120 MB to its base."""
    added = inspect(image(name))["Size"] - inspect(BASE)["Size"]
    print(f"\nmanyhands-{name}: {added / 1e6:.0f} MB over {BASE}")
    assert added <= LIMIT


@pytest.mark.parametrize("name", ["aggregator", "cli"])
def test_numpy_is_built_for_the_image(name: str) -> None:
    """Without OpenBLAS, from the source that the lock pins; and its linear algebra and random numbers work."""
    done = docker("run", "--rm", "--network", "none", "--entrypoint", "python", image(name), "-c", NUMPY)
    assert json.loads(done) == {"blas": "none", "solved": [2.0, 2.0], "sorted": True}


@pytest.mark.parametrize(("name", "port"), SERVICES.items())
def test_an_image_says_how_it_is_run(name: str, port: int) -> None:
    """It runs as nobody in particular, ends on SIGTERM, and says its port, its health check and where it comes from."""
    config = inspect(image(name))["Config"]
    assert config["User"] == "10001:10001"
    assert config["StopSignal"] == "SIGTERM"
    assert [*config["Entrypoint"], *config["Cmd"]] == ["manyhands", name]
    assert list(config["ExposedPorts"]) == [f"{port}/tcp"]
    assert config["Healthcheck"]["Test"] == ["CMD", "healthcheck"]
    labels = {key.removeprefix("org.opencontainers.image.") for key in config["Labels"]}
    assert {"title", "description", "version", "revision", "licenses", "base.name"} <= labels
    assert "Apache License" in _sh(name, "cat /usr/share/doc/manyhands/LICENSE")


@pytest.mark.parametrize("name", [*SERVICES, "cli"])
def test_nothing_that_installs_or_compiles_is_inside(name: str) -> None:
    """There is no pip, uv or compiler, no cache of packages, and nothing of the account's to write beside its home."""
    found = _sh(
        name,
        "command -v pip pip3 uv gcc cc clang make; ls -A /root /var/lib/manyhands; ls -d /src /wheels 2>&-; true",
        "--user=0",  # who may look into every folder
    )
    shells = {".bashrc", ".bash_logout", ".profile"}
    assert not [line for line in found.split() if not line.endswith(":") and line not in shells], found
    assert _missing(name, "pip", "ensurepip", "uv", "hatchling") == {"pip", "ensurepip", "uv", "hatchling"}
    writable = _sh(name, "find / -xdev -writable ! -type l ! -path '/proc/*' ! -path '/dev/*' 2>&-; true").split()
    assert {
        path for path in writable if not path.startswith(("/var/lib/manyhands", "/tmp", "/var/tmp", "/run/lock"))
    } == set()


def test_a_service_has_only_what_it_needs() -> None:
    """A worker has no SQL, web, Arrow or file-system library; fsspec is the producer's; no one has another's code."""
    worker = {"sqlalchemy", "alembic", "psycopg", "fastapi", "starlette", "uvicorn", "arro3", "fsspec", "orjson"}
    assert _missing("worker", *worker) == worker
    assert _missing("aggregator", "fsspec", "manyhands_producer", "manyhands_worker") == {
        "fsspec", "manyhands_producer", "manyhands_worker",
    }  # fmt: skip
    others = {"manyhands_worker", "manyhands_aggregator"}
    assert _missing("producer", "fsspec", "arro3", "sqlalchemy", *others) == others


@pytest.mark.parametrize("name", [*SERVICES, "cli"])
def test_what_is_inside_is_what_the_lock_pins(name: str) -> None:
    """Every package has the version of uv.lock, and is in the image's bill of materials (CycloneDX)."""
    listed = _sh(
        name,
        'python -c "from importlib.metadata import distributions as d\n'
        "for x in d(): print(x.metadata['Name'].lower().replace('_', '-').replace('.', '-'), x.version)\"",
    )
    inside = dict(line.split() for line in listed.splitlines())
    pinned = {(package["name"], package["version"]) for package in _lock()}
    assert len(inside) > 20
    bill = json.loads(_sh(name, f"cat /usr/share/sbom/manyhands-{name}.cdx.json"))
    assert {found for found in inside if not found.startswith("manyhands")} <= {
        each["name"] for each in bill["components"]
    }
    assert not {found for found in inside.items() if found not in pinned}


def test_the_lock_has_wheels_for_arm64() -> None:
    """Every package of an image has a wheel for Linux on arm64 and on amd64, so that both can be built."""
    packages: dict[str, list[dict[str, Any]]] = {}
    for package in _lock():
        packages.setdefault(package["name"], []).append(package)
    wanted, seen = ["manyhands-cli"], set[str]()
    while wanted:
        name = wanted.pop()
        if name in seen:
            continue
        seen.add(name)
        for package in packages[name]:
            extras = package.get("optional-dependencies", {})
            for group in (package.get("dependencies", []), *extras.values()):
                wanted += [dependency["name"] for dependency in group]
            wheels = [str(wheel["url"]).rpartition("/")[2] for wheel in package.get("wheels", [])]
            if name.startswith("manyhands") or any(wheel.endswith("-none-any.whl") for wheel in wheels):
                continue
            for machine in ("x86_64", "aarch64"):
                assert any(
                    "manylinux" in wheel
                    and wheel.endswith(f"{machine}.whl")
                    and ("-cp313-cp313-" in wheel or "abi3" in wheel)
                    for wheel in wheels
                ), f"{name} has no wheel for {machine}"
    assert len(seen) > 30


def test_the_digits_image_has_the_packages_of_the_lock() -> None:
    """examples/digits/requirements.txt pins scikit-learn and all that it needs, as uv.lock has them for this Python."""
    lines = (ROOT / "examples/digits/requirements.txt").read_text().splitlines()
    pins = {tuple(line.split("==")) for line in lines if "==" in line}
    exported = run(
        "docker", "run", "--rm", "--network", "none", "--entrypoint", "python", image("digits"), "-c", CLOSURE
    )
    assert {tuple(line.split()) for line in exported.stdout.splitlines()} == pins
    assert pins <= {(package["name"], package["version"]) for package in _lock()}


def test_the_bake_file_knows_both_platforms() -> None:
    """`docker buildx bake` makes every image for amd64 and arm64 when it is asked to."""
    image("cli")
    said = run("docker", "buildx", "bake", "--print", env={"PLATFORMS": "linux/amd64,linux/arm64"}).stdout
    assert said.count('"linux/arm64"') == 4


def test_without_docker_it_is_said_what_to_install(tmp_path: Path) -> None:
    """`make images` and `make up` say it in one sentence."""
    for program in ("sh", "dirname", "sed"):
        (tmp_path / program).symlink_to(
            f"/bin/{program}" if Path(f"/bin/{program}").exists() else f"/usr/bin/{program}"
        )
    for script in ("images", "up"):
        done = run("/bin/sh", f"scripts/{script}", env={"PATH": str(tmp_path)}, check=False)
        assert done.returncode == 1
        assert "install Docker Engine" in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1


@pytest.fixture
def derived() -> str:
    """The image of three lines."""
    lines = (ROOT / "examples/derived/Dockerfile").read_text().strip().splitlines()
    assert len(lines) == 3
    image("worker")
    docker("build", "--tag", "manyhands-derived:test", "examples/derived")
    return "manyhands-derived:test"


def test_a_derived_image_does_a_job_without_any_rights(derived: str, rabbitmq: RabbitMQ, postgres: Postgres) -> None:
    """Three services, from their images, each with a read-only root and no capability, answer every task.

    The worker's image is the example with handlers of one's own. On a machine that does little else it consumes within
    three seconds of its start.
    """
    ports = dict(zip(SERVICES, free_ports(3), strict=True))
    common = {
        "MANYHANDS_BROKER": rabbitmq.url,
        "MANYHANDS_STORE": postgres.database(),
        "MANYHANDS_NAMESPACE": f"images-{uuid.uuid4().hex[:8]}",
        "MANYHANDS_HOST": "127.0.0.1",
    }
    urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}

    def settings(name: str) -> dict[str, str]:
        return {**common, "MANYHANDS_PORT": str(ports[name])}

    # the broker and the queues are there, as they are where a replica is added
    run("docker", "run", "--rm", "--network", "host", *RESTRICTED, *_variables(common), image("cli"),
        "topology", "declare", "--judges", "length")  # fmt: skip
    calm, began = quiet(), time.monotonic()
    with container(derived, env=settings("worker")) as worker:
        wait_until(lambda: _consumes(urls["worker"]), 30, "the worker to consume", every=0.02)
        took = time.monotonic() - began
        print(f"\nworker: {took:.2f} s from `docker run` to its first consumer")
        with (
            container(image("producer"), env=settings("producer")) as producer,
            container(image("aggregator"), env=settings("aggregator")) as aggregator,
        ):
            for name in ("producer", "aggregator"):
                wait_until(lambda name=name: _is_ready(urls[name]), 60, f"the {name} to be ready")  # type: ignore[misc]
            answers = _answers(
                common | {"MANYHANDS_PRODUCER_URL": urls["producer"], "MANYHANDS_AGGREGATOR_URL": urls["aggregator"]}
            )
            for each in (producer, worker, aggregator):
                _has_no_rights(each)
                assert docker("exec", each, "healthcheck", "/readyz") == ""
                began_stop = time.monotonic()
                docker("stop", "--time", "30", each)
                assert inspect(each)["State"]["ExitCode"] == 0, docker("logs", each)
                assert time.monotonic() - began_stop < 20
    assert answers == {"greeting": "short", "proverb": "long", "word": "short", "question": "long"}
    assert took <= START or not calm


def test_the_health_check_works_over_tls(tmp_path: Path) -> None:
    """The same `healthcheck` finds a process that serves HTTPS, tells ready from alive, and a silent port from both."""
    issued = trustme.CA().issue_cert("localhost")
    pem = tmp_path / "tls.pem"
    pem.write_bytes(issued.private_key_and_cert_chain_pem.bytes())
    pem.chmod(0o444)
    (port,) = free_ports(1)
    env = {
        "MANYHANDS_BROKER": "amqp://127.0.0.1:1/",
        "MANYHANDS_STORE": "sqlite:////tmp/store.db",
        "MANYHANDS_PORT": str(port),
        "MANYHANDS_TLS_CERT": "/run/tls.pem",
    }

    def check(*arguments: str) -> tuple[int, str]:
        done = run("docker", "exec", *arguments, check=False)
        return done.returncode, done.stdout

    with container(image("aggregator"), env=env, options=["--volume", f"{pem}:/run/tls.pem:ro"]) as started:
        wait_until(lambda: check(started, "healthcheck") == (0, ""), 60, "the health check to find it alive")
        code, said = check(started, "healthcheck", "/readyz")
        assert (code, "503" in said, "broker" in said) == (1, True, True), said
        code, said = check("--env", "MANYHANDS_PORT=1", started, "healthcheck")
        assert (code, "refused" in said) == (1, True), said


def test_docker_finds_a_process_that_hangs() -> None:
    """One that takes connections and answers none is unhealthy, by the health check that its image has."""
    (port,) = free_ports(1)
    hangs = f"import socket, time; taken = socket.create_server(('127.0.0.1', {port})); time.sleep(600)"
    hurry = ["--health-interval", "1s", "--health-start-period", "1ms", "--health-retries", "2"]
    options = ["--entrypoint", "python", *hurry]
    with container(image("worker"), "-c", hangs, env={"MANYHANDS_PORT": str(port)}, options=options) as hanging:
        wait_until(lambda: inspect(hanging)["State"]["Health"]["Status"] == "unhealthy", 120, "Docker to find out")
        done = run("docker", "exec", hanging, "healthcheck", check=False)
        assert (done.returncode, "timed out" in done.stdout) == (1, True), done.stdout


def _answers(env: dict[str, str]) -> dict[str, str]:
    job = f"lengths-{uuid.uuid4().hex[:8]}"
    mount = ("--volume", f"{ROOT / 'examples'}:/examples:ro")
    cli = ("docker", "run", "--rm", "--network", "host", *RESTRICTED, *_variables(env), *mount, image("cli"))
    run(*cli, "submit", "/examples/derived/job.yaml", "--upload", "--id", job, "--wait")
    rows = csv.DictReader(run(*cli, "results", job).stdout.splitlines())
    return {row["id"]: row["answer"] for row in rows}


def _has_no_rights(what: str) -> None:
    status = dict(
        line.split(":\t", 1) for line in docker("exec", what, "cat", "/proc/1/status").splitlines() if ":\t" in line
    )
    assert int(status["CapEff"], 16) == 0
    assert int(status["CapBnd"], 16) == 0
    assert status["NoNewPrivs"].strip() == "1"
    assert status["Uid"].split() == ["10001"] * 4
    assert run("docker", "exec", what, "touch", "/opt/manyhands/x", check=False).returncode != 0
    assert inspect(what)["HostConfig"]["ReadonlyRootfs"]


def _consumes(url: str) -> bool:
    lines = _get(f"{url}/metrics").splitlines()
    return any(line.startswith("manyhands_consumers") and not line.endswith(" 0.0") for line in lines)


def _is_ready(url: str) -> bool:
    return bool(_get(f"{url}/readyz"))


def _get(url: str) -> str:
    """What is answered; nothing where nobody answers, or not with 200."""
    try:
        answer = httpx.get(url, timeout=2)
    except httpx.TransportError:
        return ""
    return answer.text if answer.status_code == 200 else ""


def _variables(env: dict[str, str]) -> list[str]:
    return [part for key, value in env.items() for part in ("--env", f"{key}={value}")]


def _sh(name: str, script: str, *options: str) -> str:
    return docker("run", "--rm", "--network", "none", *options, "--entrypoint", "sh", image(name), "-c", script)


def _missing(name: str, *modules: str) -> set[str]:
    script = f"import importlib.util as u; print(*(m for m in {sorted(modules)!r} if u.find_spec(m) is None))"
    return set(docker("run", "--rm", "--network", "none", "--entrypoint", "python", image(name), "-c", script).split())


def _lock() -> list[dict[str, Any]]:
    packages = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    assert isinstance(packages, list)
    return packages
