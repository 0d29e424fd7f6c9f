"""The dashboards' files: what the script makes, in Grafana's own terms, explained, linked and without gaps."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from scripts.dashboards.__main__ import main
from scripts.dashboards.model import DEPLOYED, HANDLED
from scripts.dashboards.promql import CHOSEN, selectors
from tests.observe.boards import BOARDS, GRAFANA, ROOT, panels

#: What the data source Prometheus adds to an annotation; the SDK's types are those that all data sources have.
OF_PROMETHEUS = {"step", "titleFormat", "textFormat", "tagKeys"}


def test_the_files_are_what_the_script_makes() -> None:
    """Nobody has edited them by hand, and none is missing."""
    assert main(["--check"]) == 0
    assert set(BOARDS) == {"pipeline", "workers", "quality", "broker"}


def test_a_file_that_is_out_of_date_is_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The check names what was edited, is missing or belongs to nothing, and changes nothing; writing mends it all."""
    assert main([], tmp_path) == 0
    (tmp_path / "quality.json").write_text("{}")
    (tmp_path / "broker.json").unlink()
    (tmp_path / "old.json").write_text("{}")
    capsys.readouterr()
    assert main(["--check"], tmp_path) == 1
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
        "broker.json",
        "old.json",
        "quality.json",
    ]
    assert (tmp_path / "quality.json").read_text() == "{}"
    assert main([], tmp_path) == 0
    assert main(["--check"], tmp_path) == 0
    assert {path.stem: json.loads(path.read_text()) for path in tmp_path.iterdir()} == BOARDS


@pytest.mark.parametrize("name", BOARDS)
def test_grafana_knows_all_of_it(name: str) -> None:
    """Read into the types of Grafana's SDK and written again, nothing is lost: it has a place for every key."""
    # not at the top: only who has the dependencies of the group deploy can run this, but everybody collects it
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.cog.plugins import register_default_plugins
    from grafana_foundation_sdk.models import dashboard as model

    register_default_plugins()
    written = json.loads(json.dumps(model.Dashboard.from_json(BOARDS[name]), cls=JSONEncoder))
    assert list(_lost(BOARDS[name], written)) == []


def _lost(ours: Any, theirs: Any, path: str = "") -> Any:
    """Where theirs has not what ours has."""
    if isinstance(ours, dict):
        for key, value in ours.items():
            place = f"{path}.{key}"
            if key in OF_PROMETHEUS and ".annotations." in place:
                continue
            if not isinstance(theirs, dict) or key not in theirs:
                yield place
            else:
                yield from _lost(value, theirs[key], place)
    elif isinstance(ours, list):
        if not isinstance(theirs, list) or len(ours) != len(theirs):
            yield path
        else:
            for index, (one, other) in enumerate(zip(ours, theirs, strict=True)):
                yield from _lost(one, other, f"{path}.{index}")
    elif ours != theirs:
        yield f"{path}: {ours!r}, not {theirs!r}"


@pytest.mark.parametrize("name", BOARDS)
def test_every_panel_is_explained(name: str) -> None:
    """Each has a title of its own in its row, a description in whole sentences, a unit that Grafana knows."""
    from grafana_foundation_sdk.models import units

    known = {value for value in vars(units).values() if isinstance(value, str)}
    for panel in panels(BOARDS[name]):
        assert panel["title"]
        assert re.fullmatch(r"[A-Z`].{20,}\.", panel["description"]), panel["title"]
        unit = panel["fieldConfig"]["defaults"]["unit"]
        assert unit in known or unit.startswith("suffix: "), f"{panel['title']}: {unit}"
        legends = [target["legendFormat"] for target in panel["targets"]]
        assert len(set(legends)) == len(legends)
    rows: list[set[str]] = []
    for panel in BOARDS[name]["panels"]:
        if panel["type"] == "row":
            rows.append(set())
            continue
        assert panel["title"] not in rows[-1], f"twice in its row: {panel['title']}"
        rows[-1].add(panel["title"])


@pytest.mark.parametrize("name", BOARDS)
def test_panels_have_places_of_their_own(name: str) -> None:
    """None lies over another or beyond the edge, and no number stands twice."""
    places = [panel["gridPos"] for panel in BOARDS[name]["panels"]]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for a, b in combinations(places, 2):
        apart = (
            a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
            or a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        )  # fmt: skip
        assert apart, (a, b)
    numbers = [panel["id"] for panel in BOARDS[name]["panels"]]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("name", BOARDS)
def test_a_dashboard_asks_what_is_chosen(name: str) -> None:
    """Every query goes to the data source that is chosen; every variable narrows some panel."""
    board = BOARDS[name]
    targets = [target for panel in panels(board) for target in panel["targets"]]
    everything = [*panels(board), *targets, *board["annotations"]["list"]]
    assert {one["datasource"]["uid"] for one in everything} == {"${datasource}"}
    asked = " ".join(target["expr"] for target in targets)
    for variable in board["templating"]["list"]:
        assert variable["name"] == "datasource" or f'"${variable["name"]}"' in asked


@pytest.mark.parametrize("name", BOARDS)
def test_a_dashboard_is_of_the_chosen_namespaces(name: str) -> None:
    """They are chosen first, and narrow every selector of every panel, annotation and other variable."""
    board = BOARDS[name]
    source, namespace, *others = board["templating"]["list"]
    assert (source["name"], namespace["name"], namespace["allValue"]) == ("datasource", "namespace", ".*")
    assert CHOSEN not in namespace["query"]["query"]
    asked = [target["expr"] for panel in panels(board) for target in panel["targets"]]
    asked += [annotation["expr"] for annotation in board["annotations"]["list"]]
    for expression in asked:
        assert all(CHOSEN in one for one in selectors(expression)), expression
    assert all(CHOSEN in one["query"]["query"] for one in others)


def test_deployments_are_told_from_scaling() -> None:
    """What marks them is tried by promtool, with versions that change and workers that are scaled from none."""
    for expression in (DEPLOYED, HANDLED):
        assert _tried(expression) == {True, False}


def _tried(expression: str) -> set[bool]:
    cases = YAML(typ="safe").load((ROOT / "deploy/prometheus/manyhands-installations-test.yml").read_text())["tests"]
    tried = [test for case in cases for test in case.get("promql_expr_test", ()) if test["expr"] == expression]
    return {bool(test["exp_samples"]) for test in tried}


def test_dashboards_are_found_from_one_another() -> None:
    """Each has its own fixed address, bears the tag that the links go by, and keeps judge and time on the way."""
    assert {name: board["uid"] for name, board in BOARDS.items()} == {
        "pipeline": "manyhands-pipeline", "workers": "manyhands-workers", "quality": "manyhands-quality",
        "broker": "manyhands-broker",
    }  # fmt: skip
    for board in BOARDS.values():
        (link,) = board["links"]
        assert link["tags"] == board["tags"] == ["manyhands"]
        assert link["includeVars"]
        assert link["keepTime"]
        assert [one["name"] for one in board["annotations"]["list"]] == ["Deployments", "Handlers", "Alerts"]
        addresses = re.findall(r"/d/([\w-]+)", json.dumps(board))
        assert set(addresses) <= {other["uid"] for other in BOARDS.values()}


def test_provisioning() -> None:
    """Grafana is given a Prometheus under a fixed name, and the folder of the dashboards."""
    load = YAML(typ="safe").load
    (source,) = load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())["datasources"]
    assert (source["type"], source["uid"], source["url"]) == ("prometheus", "manyhands", "http://prometheus:9090")
    configured = load((ROOT / "deploy/prometheus/prometheus.yml").read_text())["global"]["scrape_interval"]
    assert source["jsonData"]["timeInterval"] == configured  # the rates look back over four of them
    (provider,) = load((GRAFANA / "provisioning/dashboards/manyhands.yml").read_text())["providers"]
    assert provider["type"] == "file"
    assert provider["options"]["path"] == "/var/lib/grafana/dashboards"
