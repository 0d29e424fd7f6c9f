"""Recording rules, alerts and their routing: valid, tested, explained, and about metrics that exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client import Counter, Gauge, Histogram
from ruamel.yaml import YAML

from manyhands import metrics
from tests.deploy.promtools import PROMETHEUS, Tool, amtool, promtool

#: A container takes its time to start on a machine that has other things to do.
pytestmark = pytest.mark.timeout(600)

RULES = sorted(path.name for path in PROMETHEUS.glob("*rules*.yml"))
TESTS = sorted(path.name for path in PROMETHEUS.glob("*test*.yml"))
RUNBOOKS = PROMETHEUS.parents[1] / "docs" / "operations.md"

#: What we use of RabbitMQ's plugin, with the labels. Source: /metrics and /metrics/detailed of RabbitMQ 4.3.
RABBITMQ = {
    "rabbitmq_detailed_queue_messages_ready": {"vhost", "queue"},
    "rabbitmq_detailed_queue_messages_unacked": {"vhost", "queue"},
    "rabbitmq_detailed_queue_consumers": {"vhost", "queue"},
    "rabbitmq_alarms_memory_used_watermark": set[str](),
    "rabbitmq_alarms_free_disk_space_watermark": set[str](),
}
#: What Prometheus, and its library in every process, make themselves.
COMMON: dict[str, set[str]] = {"up": set(), "process_start_time_seconds": set()}
#: Labels that a scrape adds; the last two where targets are pods.
SCRAPED = {"job", "instance", "namespace", "pod"}
#: Words of PromQL that are no metrics.
WORDS = {"by", "on", "and", "or", "unless", "offset", "group_left", "ignoring", "without", "bool"}


def load(name: str) -> Any:
    """A file of deploy/prometheus."""
    return YAML(typ="safe").load((PROMETHEUS / name).read_text(encoding="utf-8"))


def rules() -> list[dict[str, Any]]:
    """Every rule of every group."""
    return [rule for name in RULES for group in load(name)["groups"] for rule in group["rules"]]


ALERTS = {rule["alert"]: rule for rule in rules() if "alert" in rule}
RECORDS = {rule["record"]: rule for rule in rules() if "record" in rule}


def cases() -> Iterator[dict[str, Any]]:
    """Every group of tests."""
    for name in TESTS:
        yield from load(name)["tests"]


def known() -> dict[str, set[str]]:
    """Every series there is, with its labels."""
    series = dict(RABBITMQ | COMMON)
    for metric in vars(metrics).values():
        if not isinstance(metric, (Counter, Gauge, Histogram)):
            continue
        labels = set(metric._labelnames)
        name = metric._name
        if isinstance(metric, Histogram):
            series |= {f"{name}_bucket": labels | {"le"}, f"{name}_sum": labels, f"{name}_count": labels}
        else:
            series[name + ("_total" if isinstance(metric, Counter) else "")] = labels
    return series


def names(expression: str) -> set[str]:
    """The series that an expression asks for."""
    # a selector by pattern stands for every name that it matches
    by_pattern = re.findall(r'__name__=~"([^"]+)"', expression)
    bare = re.sub(r'"[^"]*"', "", expression)
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]|\b(by|on|ignoring|without)\s*\([^)]*\)|\b(offset)\s+\w+", " ", bare)
    words = re.findall(r"(?<![\w.])[a-zA-Z_:][a-zA-Z0-9_:]*(?!\s*\(|[a-zA-Z0-9_:])", bare)
    matched = {name for pattern in by_pattern for name in known() if re.fullmatch(pattern, name)}
    return matched | {word for word in words if word not in WORDS}


def labels(expression: str) -> set[str]:
    """The labels that an expression names, in selectors and in groupings."""
    chosen = {
        found for inside in re.findall(r"\{([^}]*)\}", expression) for found in re.findall(r"(\w+)\s*[=!]", inside)
    }
    grouped = re.findall(r"\b(?:by|on|ignoring|without)\s*\(([^)]*)\)", expression)
    return (chosen | {label.strip() for group in grouped for label in group.split(",")}) - {"__name__"}


def has(series: str) -> set[str]:
    """The labels that a series can have."""
    if series in RECORDS:
        return labels(RECORDS[series]["expr"]) | SCRAPED
    return known()[series] | SCRAPED


def all_of(tools: list[Tool], *arguments: str) -> None:
    """Each of the tools accepts it."""
    for tool in tools:
        done = tool.run(*arguments)
        assert done.returncode == 0, f"{tool.where}: {done.stdout}"


def test_the_files_are_told_apart_by_their_names() -> None:
    """Prometheus loads *rules*.yml, and no test is among them."""
    assert RULES
    assert TESTS
    assert not set(RULES) & set(TESTS)
    assert load("prometheus.yml")["rule_files"] == ["*rules*.yml"]


def test_rules_are_valid() -> None:
    """promtool accepts the rules."""
    all_of(promtool(), "check", "rules", *RULES)


def test_the_configuration_is_valid() -> None:
    """promtool accepts the scrape configuration, with the rules that it loads."""
    all_of(promtool(), "check", "config", "prometheus.yml")


def test_rules_do_what_they_are_for() -> None:
    """promtool runs the tests of the rules."""
    all_of(promtool(), "test", "rules", *TESTS)


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_has_been_seen_firing_and_quiet(alert: str) -> None:
    """In one case it fires; in another, which has series that it is about, it must not."""
    about = names(ALERTS[alert]["expr"])
    about |= {name for record in about & RECORDS.keys() for name in names(RECORDS[record]["expr"])}
    fires = quiet = False
    for case in cases():
        expected = [check["exp_alerts"] for check in case.get("alert_rule_test", ()) if check["alertname"] == alert]
        if expected:
            series = {re.split(r"[{\s]", one["series"])[0] for one in case["input_series"]}
            fires |= any(expected)
            quiet |= bool(about & series) and not any(expected)
    assert fires, "no case in which it fires"
    assert quiet, "no case in which it must not fire"


@pytest.mark.parametrize("record", RECORDS)
def test_a_recording_rule_has_a_case(record: str) -> None:
    """Some case asks for its value."""
    asked = [check for case in cases() for check in case.get("promql_expr_test", ()) if record in names(check["expr"])]
    assert any(check["exp_samples"] for check in asked)


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_is_explained(alert: str) -> None:
    """It says how severe it is, what is wrong in one sentence, what is known of it, and where to read on."""
    rule = ALERTS[alert]
    assert rule["labels"]["severity"] in ("warning", "critical")
    told = rule["annotations"]
    assert re.fullmatch(r"[A-Z{][^.]*\.", re.sub(r"\{\{.*?\}\}", "x", told["summary"]).capitalize())
    assert re.search(r"\{\{ *\$(labels\.\w+|value\b)|Prometheus", told["description"])
    said = set(re.findall(r"\$labels\.(\w+)", told["summary"] + told["description"]))
    can = {label for name in names(rule["expr"]) for label in has(name)}
    assert said <= can
    assert told["runbook_url"] == f"docs/operations.md#{alert.lower()}"


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_has_a_runbook(alert: str) -> None:
    """The page that the alert links to has a section of its name."""
    headings = re.findall(r"^#+\s+(.+?)\s*$", RUNBOOKS.read_text(encoding="utf-8"), re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}
    assert alert.lower() in anchors


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.get("alert") or rule["record"])
def test_a_rule_is_about_what_exists(rule: dict[str, Any]) -> None:
    """Its metrics are in the catalogue, recorded by another rule, or RabbitMQ's; its labels are labels of theirs."""
    asked = names(rule["expr"])
    assert asked
    assert asked <= known().keys() | RECORDS.keys()
    made = set(re.findall(r'"(\w+)", "\$\d"', rule["expr"]))  # by label_replace
    can = {label for name in asked for label in has(name)}
    assert labels(rule["expr"]) <= can | made


def test_what_these_tests_read_out_of_expressions() -> None:
    """Names and labels are found wherever they may stand."""
    expression = (
        'sum by (judge, le) (rate(manyhands_x_bucket{job="a", le!="1"}[5m] offset 15m)) / on (job) group_left up '
        '> 0.5e3 unless judge:x:sum or {__name__=~"rabbitmq_alarms_memory_.*"} and time() - process_start_time_seconds '
        "< 900"
    )
    assert names(expression) == {
        "manyhands_x_bucket", "up", "judge:x:sum", "rabbitmq_alarms_memory_used_watermark",
        "process_start_time_seconds",
    }  # fmt: skip
    assert labels(expression) == {"judge", "le", "job"}


def test_the_services_are_scraped_under_their_names() -> None:
    """The job labels that rules and dashboards know, each at its port."""
    ports = {}
    for config in load("prometheus.yml")["scrape_configs"]:
        static = [target.rpartition(":")[2] for some in config.get("static_configs", ()) for target in some["targets"]]
        found = [str(some["port"]) for some in config.get("dns_sd_configs", ())]
        ports[config["job_name"]] = static + found
    assert ports == {
        "producer": ["8101"], "worker": ["8102"], "aggregator": ["8103"], "rabbitmq": ["15692"],
        "rabbitmq-queues": ["15692"],
    }  # fmt: skip


def test_the_routing_is_valid() -> None:
    """amtool accepts it, and what it holds back are alerts that there are."""
    all_of(amtool(), "check-config", "alertmanager.yml")
    text = (PROMETHEUS / "alertmanager.yml").read_text(encoding="utf-8")
    assert set(re.findall(r"Manyhands\w+", text)) <= ALERTS.keys()
    assert not re.search(r"\burl:|password|token", text), "an address is a secret: it comes from a file"
