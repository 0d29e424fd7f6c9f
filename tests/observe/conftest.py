"""The whole system under a short load that has something of everything, watched by a Prometheus."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests import services
from tests.e2e.processes import Installation, installation
from tests.llm import answered, serving
from tests.observe.prometheus import START_TIMEOUT, Prometheus, prometheus
from tests.services import Postgres, RabbitMQ, wait_until
from tests.unit.certificates import Authority

#: Seconds that anything may take on a busy machine.
PATIENCE = 150.0
TASKS = 1500

#: Two judges who do not always agree, three judgments of each task, and payloads that get them into trouble.
HANDLERS = """
import os
import random
import time

from manyhands import Judgment, RejectTask, RetryTask, judge


def look(payload, right):
    time.sleep(random.uniform(0.002, 0.006))
    match payload["trouble"]:
        case "busy":
            raise RetryTask("come again")
        case "hopeless":
            raise RejectTask("never")
        case "odd":
            return "perhaps"
        case "deadly":
            os._exit(3)
    truth = payload["truth"]
    return truth if random.random() < right else random.choice(["yes", "no", "unclear"])


@judge("careful")
def careful(payload):
    return Judgment(look(payload, 0.8), random.uniform(0.5, 1))


@judge("quick")
def quick(payload):
    return look(payload, 0.4)
"""
#: At which positions there is trouble; a deadly one kills a child for every try.
TROUBLES = {5: "busy", 705: "busy", 10: "hopeless", 710: "hopeless", 15: "odd", 20: "deadly"}
OPTIONS = ("yes", "no", "unclear")
#: Three votes; or a language model, which the workers know of.
VOTE = {"stages": [{"judges": [{"careful": 2}, "quick"]}], "handlers": "handlers.py"}
MODELS = {"stages": [{"judges": ["model"]}]}


@dataclass(frozen=True)
class Live:
    """What happened, and the Prometheus that saw it, in seconds since 1970."""

    prometheus: Prometheus
    since: float
    until: float


@pytest.fixture(scope="session")
def broker() -> Iterator[RabbitMQ]:
    """A RabbitMQ of this tier's own, with the virtual host that the scrape configuration names."""
    with services.private_rabbitmq() as node:
        node.ctl("add_vhost", "manyhands")
        user = urlsplit(node.url).username or ""
        node.ctl("set_permissions", "-p", "manyhands", user, ".*", ".*", ".*")
        yield node


@pytest.fixture(scope="session")
def live(broker: RabbitMQ, postgres: Postgres) -> Iterator[Live]:
    """The services after a load, and what Prometheus has seen of it: three processes, two workers, three jobs."""
    folder = Path(tempfile.mkdtemp(prefix="manyhands-observe-"))
    try:
        authority = Authority(folder / "pki")
        served = authority.issue("127.0.0.1", name="http")
        env = {
            "MANYHANDS_TLS_CERT": str(served.cert), "MANYHANDS_TLS_KEY": str(served.key),
            "MANYHANDS_CA": str(authority.pem),
        }  # fmt: skip
        # the short one first: a rate needs two scrapes, and the others take their time
        jobs = [_job(folder / "asked", tasks=60, plan=MODELS), _job(folder / "good"), _job(folder / "bad", TROUBLES)]
        url = urlsplit(broker.url)._replace(path="/manyhands").geturl()
        with (
            serving(lambda _: answered("yes")) as server_of_models,
            installation(
                url, postgres.database(), "", _worker(folder, server_of_models.url), workers=2, env=env
            ) as running,
        ):
            node = [broker.metrics()]
            targets = _targets(running) | {"rabbitmq": node, "rabbitmq-queues": node}
            tls = {"scheme": "https", "tls_config": {"ca_file": str(authority.pem)}}
            secure = dict.fromkeys(("producer", "worker", "aggregator"), tls)
            with prometheus(folder, targets, secure) as server:
                since = time.time()
                _up(server, 2 * sum(map(len, targets.values())))
                for job in jobs:
                    _work(running, job)
                _seen(server, len(jobs))
                yield Live(server, since, time.time())
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _worker(folder: Path, models: str) -> tuple[str, ...]:
    """What the workers are started with: the handlers, and a language model at this address."""
    judges = {
        "handlers": "good/handlers.py", "question": "Yes?", "answer": {"type": "choice", "options": list(OPTIONS)},
        "llm": {"model": {"url": models, "model": "m", "price": {"input": 0.15, "output": 0.6}}},
    }  # fmt: skip
    file = folder / "worker.yaml"
    file.write_text(json.dumps(judges))
    return ("--config", str(file))


def _job(
    folder: Path, troubles: Mapping[int, str] | None = None, tasks: int = TASKS, plan: Mapping[str, Any] | None = None
) -> Path:
    """A job; where there are troubles, there is a row that cannot be read as well."""
    folder.mkdir()
    rows = []
    for number in range(tasks):
        truth = OPTIONS[number % len(OPTIONS)]
        payload = {"truth": truth, "trouble": (troubles or {}).get(number, "")}
        rows.append(json.dumps({"id": f"t{number}", "input": payload, "truth": truth}))
    if troubles:
        rows.insert(7, '{"id": "bad", "input": ')
    (folder / "rows.jsonl").write_text("\n".join(rows) + "\n")
    (folder / "handlers.py").write_text(HANDLERS)
    said = {
        "name": folder.name, "answer": {"type": "choice", "options": list(OPTIONS)},
        "source": {"path": "rows.jsonl", "id": "id", "input": "input", "on_bad_row": "set-aside"},
        "gold": {"column": "truth"}, "max_attempts": 2,
        "suite": 20, "in_flight": 30, **(plan or VOTE),
    }  # fmt: skip
    file = folder / "job.yaml"
    file.write_text(json.dumps(said))  # JSON is YAML
    return file


def _targets(running: Installation) -> dict[str, list[str]]:
    processes = {"producer": [running.producer], "aggregator": [running.aggregator], "worker": running.workers}
    return {job: [urlsplit(one.url).netloc for one in some] for job, some in processes.items()}


def _up(server: Prometheus, count: int) -> None:
    """Wait until every target has been scraped."""
    try:
        wait_until(lambda: len(server.now("up == 1")) == count, START_TIMEOUT, f"{count} targets to be up")
    except TimeoutError as late:
        for target in server.get("targets")["activeTargets"]:
            late.add_note(f"{target['scrapeUrl']} {target['health']} {target['lastError']}")
        raise


def _work(running: Installation, job: Path) -> None:
    """Have a job done to its end."""
    done = running.command("submit", str(job), "--wait", "--json")
    assert done.stdout, done.stderr
    assert json.loads(done.stdout)["state"] in ("complete", "partial"), done.stdout


def _seen(server: Prometheus, jobs: int) -> None:
    """Wait until Prometheus has seen the end of the load and has worked its rules out since."""
    ended = f"sum by (namespace) (manyhands_jobs_ended_total) == {jobs}"
    wait_until(lambda: len(server.now(ended)) == 2, PATIENCE, "Prometheus to see the jobs end, in both namespaces")
    seen = time.time()

    def evaluated() -> bool:
        groups = server.get("rules")["groups"]
        return bool(groups) and all(
            datetime.fromisoformat(group["lastEvaluation"]).timestamp() > seen for group in groups
        )

    wait_until(evaluated, PATIENCE, "every group of rules to be evaluated")
