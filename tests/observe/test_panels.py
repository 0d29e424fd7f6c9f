"""Every query of every dashboard and every rule of Prometheus, evaluated on services that run."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from ruamel.yaml import YAML

from scripts.dashboards.promql import chosen, selectors
from tests.observe.boards import BOARDS, panels
from tests.observe.conftest import Live
from tests.observe.prometheus import FOLDER, INTERVAL, TWIN

pytestmark = pytest.mark.timeout(400, func_only=True)

#: What Grafana puts in for its own variables; it lets a rate look back over four scrapes at least.
GRAFANA = {"$__rate_interval": f"{8 * INTERVAL}s", "$__range": "1h", "$__interval": f"{INTERVAL}s"}

#: Selectors of alerts that have no series in an installation that is well, and why.
ONLY_IN_A_FAULT = {
    'manyhands_publish_failed_total{reason="unroutable"}': "counted when a message was published that no queue takes",
    'manyhands_dead_letters_total{code="unroutable"}': "counted when a judge has no queue, which the services declare",
}


class Query(NamedTuple):
    """A query of a panel; its text as a name for the test."""

    board: str
    panel: str
    legend: str
    expr: str

    def __str__(self) -> str:
        return f"{self.board}: {self.panel}: {self.legend}"


def queries() -> Iterator[Query]:
    """Every query of every panel."""
    for name, board in BOARDS.items():
        for panel in panels(board):
            for target in panel["targets"]:
                yield Query(name, panel["title"], target["legendFormat"], target["expr"])


def rules(kind: str) -> dict[str, str]:
    """The expressions of all alerts or of all recording rules, by name."""
    loaded = [YAML(typ="safe").load(path.read_text(encoding="utf-8")) for path in FOLDER.glob("*rules*.yml")]
    every = [rule for file in loaded for group in file["groups"] for rule in group["rules"]]
    return {rule[kind]: rule["expr"] for rule in every if kind in rule}


ALERTS, RECORDS = rules("alert"), rules("record")


def filled(expression: str, board: str, **choice: str) -> str:
    """The expression with what Grafana would put in for the variables; all values but of those with a ``choice``."""
    variables = {one["name"]: one["allValue"] for one in BOARDS[board]["templating"]["list"] if "allValue" in one}
    for name, value in (GRAFANA | {f"${name}": value for name, value in (variables | choice).items()}).items():
        expression = expression.replace(name, value)
    assert "$" not in expression, "a variable that the dashboard does not have"
    return expression


def numbers(series: dict[str, Any]) -> list[float]:
    """The values of a series that are numbers."""
    return [value for value in (float(said) for _, said in series["values"]) if not math.isnan(value)]


@pytest.mark.parametrize("query", list(queries()), ids=str)
def test_a_panel_shows_something(live: Live, query: Query) -> None:
    """Its query has data, with a label for each that its legend names, and no two series of the same legend."""
    expression = filled(query.expr, query.board)
    found = live.prometheus.between(expression, live.since, live.until)
    assert found, f"no data: {expression}"
    assert any(numbers(series) for series in found), f"nothing but NaN: {expression}"
    named = set(re.findall(r"\{\{(\w+)\}\}", query.legend))
    for series in found:
        assert named <= series["metric"].keys(), f"the legend {query.legend!r} does not fit {series['metric']}"
    legends = [tuple(series["metric"].get(label) for label in sorted(named)) for series in found]
    assert query.legend == "" or len(set(legends)) == len(found), f"two series called the same: {legends}"


@pytest.mark.parametrize("query", list(queries()), ids=str)
def test_a_panel_shows_what_is_chosen(live: Live, query: Query) -> None:
    """It has data of the namespace that is chosen, and none of another: nothing, or a 0 that it has always."""
    found = live.prometheus.between(filled(query.expr, query.board, namespace=TWIN), live.since, live.until)
    assert any(numbers(series) for series in found), query.expr
    found = live.prometheus.between(filled(query.expr, query.board, namespace="nowhere"), live.since, live.until)
    assert [value for series in found for value in numbers(series) if value] == []


@pytest.mark.parametrize("board", BOARDS)
def test_a_variable_has_values(live: Live, board: str) -> None:
    """The list of each has something to choose, and what is chosen has data."""
    for variable in BOARDS[board]["templating"]["list"]:
        if variable["type"] == "query":
            values = _values(live, variable)
            assert values, variable["name"]
            assert all(re.fullmatch(variable["allValue"], value) for value in values)


def _values(live: Live, variable: dict[str, Any]) -> list[str]:
    asked = re.fullmatch(r"label_values\((?P<series>.+), (?P<label>\w+)\)", variable["query"]["query"])
    assert asked
    series = asked["series"].replace("$namespace", ".*")
    found: list[str] = live.prometheus.get(f"label/{asked['label']}/values", **{"match[]": series})
    return found


def test_the_namespaces_that_can_be_chosen_are_those_there_are(live: Live) -> None:
    """The one that has a name."""
    (namespace,) = [one for one in BOARDS["pipeline"]["templating"]["list"] if one["name"] == "namespace"]
    assert _values(live, namespace) == [TWIN]


def test_the_judges_that_can_be_chosen_are_those_there_are(live: Live) -> None:
    """The judges of the load, and nothing else."""
    (judge,) = [one for one in BOARDS["pipeline"]["templating"]["list"] if one["name"] == "judge"]
    assert sorted(_values(live, judge)) == ["careful", "model", "quick"]


@pytest.mark.parametrize("board", BOARDS)
def test_an_annotation_marks_something(live: Live, board: str) -> None:
    """The start of the processes was a deployment, and the dead letters were an alert."""
    for annotation in BOARDS[board]["annotations"]["list"]:
        found = live.prometheus.between(filled(annotation["expr"], board), live.since, live.until)
        assert found, annotation["name"]
        named = set(re.findall(r"\{\{(\w+)\}\}", annotation["titleFormat"])) | set(annotation["tagKeys"].split(","))
        assert all(named <= series["metric"].keys() for series in found)
    started = {series["metric"]["process"] for series in _annotated(live, board, "Deployments")}
    assert started == {"producer", "worker", "aggregator"}


def _annotated(live: Live, board: str, name: str) -> list[dict[str, Any]]:
    (annotation,) = [one for one in BOARDS[board]["annotations"]["list"] if one["name"] == name]
    return live.prometheus.between(filled(annotation["expr"], board), live.since, live.until)


@pytest.mark.parametrize("rule", [*ALERTS, *RECORDS])
def test_a_rule_is_evaluated(live: Live, rule: str) -> None:
    """Prometheus has evaluated it, and without an error."""
    loaded = [one for group in live.prometheus.get("rules")["groups"] for one in group["rules"]]
    (found,) = [one for one in loaded if one["name"] == rule]
    assert found["health"] == "ok", found
    assert not found.get("lastError")


@pytest.mark.parametrize("record", RECORDS)
def test_a_recording_rule_records(live: Live, record: str) -> None:
    """It has data, and not only what is no number."""
    found = live.prometheus.between(record, live.since, live.until)
    assert any(numbers(series) for series in found)


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_is_about_what_there_is(live: Live, alert: str) -> None:
    """Whatever it selects has data, but for what there only is in a fault."""
    asked = selectors(ALERTS[alert])
    assert asked
    for selector in asked - ONLY_IN_A_FAULT.keys():
        assert live.prometheus.between(selector, live.since, live.until), f"no data: {selector}"


def test_what_is_said_to_be_only_in_a_fault_is() -> None:
    """Each exception is a selector of some alert."""
    assert ONLY_IN_A_FAULT.keys() <= {selector for expression in ALERTS.values() for selector in selectors(expression)}


def test_what_these_tests_read_out_of_expressions() -> None:
    """Selectors are found wherever they may stand, with what they are narrowed by."""
    expression = (
        'sum by (judge, le) (rate(manyhands_x_bucket{job="a", le!="}"}[5m] offset 15m)) / on (job) group_left () up '
        '> 0.5e3 unless judge:x:sum or {__name__=~"rabbitmq_.*"} and label_replace(a_b{c="d"}, "e", "$1", "f", "(.*)")'
    )
    assert selectors(expression) == {
        'manyhands_x_bucket{job="a", le!="}"}', "up", "judge:x:sum", '{__name__=~"rabbitmq_.*"}', 'a_b{c="d"}',
    }  # fmt: skip


def test_a_process_has_few_series(live: Live) -> None:
    """A scrape of a process of ours has at most 500 series, after whatever happened."""
    found = live.prometheus.now('scrape_samples_scraped{job=~"producer|worker|aggregator", namespace=""}')
    assert len(found) == 4
    assert {series["metric"]["job"]: series["value"][1] for series in found if float(series["value"][1]) > 500} == {}


def test_a_scrape_is_short(live: Live) -> None:
    """At most 50 ms for each process of ours; the best of all times, since a machine may have other things to do."""
    best = 'min_over_time(scrape_duration_seconds{job=~"producer|worker|aggregator", namespace=""}[1h])'
    found = {series["metric"]["instance"]: float(series["value"][1]) for series in live.prometheus.now(best)}
    assert len(found) == 4
    assert {instance: seconds for instance, seconds in found.items() if seconds > 0.05} == {}


def test_what_is_narrowed_to_the_chosen_namespaces() -> None:
    """Every selector, and nothing else."""
    expression = (
        'sum by (a) (rate(x_total{b=~"$b"}[5m] offset 1m)) / (judge:y:sum > 0.5) or vector(0) unless on (c) {d="e"}'
    )
    ns = 'namespace=~"$namespace"'
    assert chosen(expression) == (
        f'sum by (a) (rate(x_total{{b=~"$b", {ns}}}[5m] offset 1m)) / (judge:y:sum{{{ns}}} > 0.5) or vector(0) '
        f'unless on (c) {{d="e", {ns}}}'
    )
