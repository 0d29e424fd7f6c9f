"""Panels, rows and dashboards as data, and the JSON that Grafana reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from scripts.dashboards.promql import chosen

Json = dict[str, Any]

#: Every dashboard bears it; the links between them go by it.
TAG = "manyhands"
#: What a panel asks is chosen in the dashboard: no data source is named in the files.
SOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}
#: The dashboard model of Grafana 11; later ones read it and bring it up to date.
SCHEMA = 39
#: Of 24 columns.
COLUMNS = 24
HEIGHTS = {"stat": 4, "timeseries": 8, "heatmap": 8, "table": 8}


@dataclass(frozen=True)
class Panel:
    """One panel: ``shows`` maps the legend of each query to its expression.

    ``steps`` are thresholds: from which value on which colour; below the first it is green.
    """

    title: str
    unit: str
    about: str
    shows: Mapping[str, str]
    kind: Literal["timeseries", "stat", "heatmap", "table"] = field(default="timeseries", kw_only=True)
    width: int = field(default=8, kw_only=True)
    stack: bool = field(default=False, kw_only=True)
    most: float | None = field(default=None, kw_only=True)
    steps: Mapping[float, str] = field(default_factory=dict, kw_only=True)


@dataclass(frozen=True)
class Row:
    """Panels under a heading."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True)
class Variable:
    """A list above the dashboard: the values of a label of some series."""

    name: str
    label: str
    about: str
    series: str
    everything: str = ".+"


@dataclass(frozen=True)
class Dashboard:
    """A dashboard: its file is called as ``name``, and its address, ``manyhands-`` and the name, never changes."""

    name: str
    title: str
    about: str
    variables: Sequence[Variable]
    rows: Sequence[Row]

    @property
    def uid(self) -> str:
        """The part of its address that links go by."""
        return f"manyhands-{self.name}"


#: Above every dashboard, and in every selector: several installations in one Prometheus.
NAMESPACE = Variable(
    "namespace", "Namespace", "Installations, where Prometheus has several; empty where it has one without a name.",
    "manyhands_build_info", ".*",
)  # fmt: skip
JUDGE = Variable(
    "judge", "Judge", "One judge, several, or all.",
    '{__name__=~"manyhands_(suites_published_total|oldest_suite_seconds|prefetch)"}',
)  # fmt: skip
JOB = Variable("job", "Service", "The services whose processes are shown.", "manyhands_build_info")
INSTANCE = Variable("instance", "Replica", "The workers that are shown.", 'manyhands_build_info{job="worker"}')

#: The versions of each process, and those of the ten minutes before the last one.
VERSIONS = "sum by (process, version) (manyhands_build_info)"
BEFORE = "last_over_time(manyhands_build_info[10m] offset 1m)"
#: A version that a process did not have before, or that nothing had: workers that are scaled from none are neither.
DEPLOYED = (
    f"{VERSIONS} unless on (process, version) {BEFORE} and on (process) {BEFORE} "
    f"or {VERSIONS} unless on (version) {BEFORE}"
)
#: A version of a handler after another one, or that its judge did not have for a day: scaling from none is neither.
HANDLERS = "sum by (judge, version) (judge:manyhands_handler_info:sum)"
HANDLED = (
    f"{HANDLERS} unless on (judge, version) last_over_time(judge:manyhands_handler_info:sum[10m] offset 1m) "
    "and on (judge) last_over_time(judge:manyhands_handler_info:sum[10m] offset 1m) "
    f"or {HANDLERS} unless on (judge, version) last_over_time(judge:manyhands_handler_info:sum[1d] offset 1m)"
)
FIRING = 'sum by (alertname, severity) (ALERTS{alertname=~"Manyhands.+", alertstate="firing"})'


def render(dashboard: Dashboard) -> Json:
    """The dashboard as Grafana wants it."""
    return {
        "uid": dashboard.uid,
        "title": f"Manyhands / {dashboard.title}",
        "description": dashboard.about,
        "tags": [TAG],
        "timezone": "browser",
        "editable": True,
        "graphTooltip": 1,  # one crosshair through all panels
        "time": {"from": "now-1h", "to": "now"},
        "refresh": "30s",
        "schemaVersion": SCHEMA,
        "version": 1,
        "links": [_links()],
        "templating": {"list": [_datasource(), *map(_variable, (NAMESPACE, *dashboard.variables))]},
        "annotations": {
            "list": [
                _annotation("Deployments", DEPLOYED, "blue", "{{process}} {{version}}", "process,version"),
                _annotation("Handlers", HANDLED, "purple", "{{judge}} {{version}}", "judge,version"),
                _annotation("Alerts", FIRING, "red", "{{alertname}}", "alertname,severity"),
            ]
        },
        "panels": list(_panels(dashboard)),
    }


def _links() -> Json:
    """To every other dashboard with the tag, with the namespaces, the judges and the time that are chosen."""
    return {
        "title": "Manyhands", "type": "dashboards", "icon": "dashboard", "tooltip": "The other dashboards",
        "url": "", "tags": [TAG], "asDropdown": False, "targetBlank": False, "includeVars": True, "keepTime": True,
    }  # fmt: skip


def _datasource() -> Json:
    return {
        "name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus",
        "description": "Where the metrics are.", "hide": 0, "skipUrlSync": False, "multi": False, "includeAll": False,
        "refresh": 1, "regex": "",
    }  # fmt: skip


def _variable(variable: Variable) -> Json:
    series = variable.series if variable is NAMESPACE else chosen(variable.series)
    return {
        "name": variable.name, "label": variable.label, "type": "query", "description": variable.about,
        "query": {"query": f"label_values({series}, {variable.name})", "refId": variable.name},
        "datasource": SOURCE, "hide": 0, "skipUrlSync": False, "multi": True, "includeAll": True,
        "allValue": variable.everything,
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "refresh": 2, "sort": 1, "regex": "",  # asked again whenever the time changes
    }  # fmt: skip


def _annotation(name: str, expr: str, color: str, title: str, tags: str) -> Json:
    # what a query of Prometheus has here is not in the SDK's types; Grafana's documentation of its data source names it
    return {
        "name": name, "datasource": SOURCE, "enable": True, "hide": False, "iconColor": color,
        "expr": chosen(expr), "step": "30s", "titleFormat": title, "textFormat": name, "tagKeys": tags,
    }  # fmt: skip


def _panels(dashboard: Dashboard) -> Iterator[Json]:
    """Rows and panels from left to right and from above to below."""
    number, y = 1, 0
    for row in dashboard.rows:
        place = {"x": 0, "y": y, "w": COLUMNS, "h": 1}
        yield {"type": "row", "id": number, "title": row.title, "collapsed": False, "gridPos": place, "panels": []}
        number, y = number + 1, y + 1
        x = lowest = 0
        for panel in row.panels:
            if x + panel.width > COLUMNS:
                x, y = 0, y + lowest
                lowest = 0
            height = HEIGHTS[panel.kind]
            place = {"x": x, "y": y, "w": panel.width, "h": height}
            yield _panel(panel, dashboard.name) | {"id": number, "gridPos": place}
            number, x, lowest = number + 1, x + panel.width, max(lowest, height)
        y += lowest


def _panel(panel: Panel, where: str) -> Json:
    defaults: Json = {
        "unit": panel.unit,
        "color": {"mode": "thresholds" if panel.kind == "stat" else "palette-classic"},
        "thresholds": {"mode": "absolute", "steps": _steps(panel.steps)},
        "links": [_to_workers()] if where != "workers" and "{{judge}}" in panel.shows else [],
        "custom": _custom(panel),
    }
    if panel.kind == "timeseries":
        defaults["min"] = 0
    if panel.most is not None:
        defaults["max"] = panel.most
    made = {
        "type": panel.kind, "title": panel.title, "description": panel.about, "datasource": SOURCE,
        "targets": [_target(panel, ref, *shown) for ref, shown in zip("ABCDEFGH", panel.shows.items(), strict=False)],
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": _options(panel),
    }  # fmt: skip
    if panel.kind == "table":
        left_out = {"excludeByName": {"Time": True, "Value": True}, "indexByName": {}, "renameByName": {}}
        made["transformations"] = [{"id": "organize", "options": left_out}]
    return made


def _target(panel: Panel, ref: str, legend: str, expr: str) -> Json:
    instant = panel.kind == "table"
    return {
        "refId": ref, "datasource": SOURCE, "expr": chosen(" ".join(expr.split())), "legendFormat": legend,
        "editorMode": "code", "instant": instant, "range": not instant,
        "exemplar": panel.kind == "timeseries" and "_bucket" in expr,
        "format": {"heatmap": "heatmap", "table": "table"}.get(panel.kind, "time_series"),
    }  # fmt: skip


def _steps(steps: Mapping[float, str]) -> list[Json]:
    return [{"value": None, "color": "green"}, *({"value": at, "color": color} for at, color in steps.items())]


def _to_workers() -> Json:
    kept = "${__url_time_range}&var-datasource=${datasource}&${namespace:queryparam}"
    url = f"/d/manyhands-workers?{kept}&var-judge=${{__field.labels.judge}}"
    return {"title": "Workers of this judge", "url": url, "targetBlank": False}


def _custom(panel: Panel) -> Json:
    if panel.kind != "timeseries":
        return {}
    return {
        "drawStyle": "line", "lineWidth": 1, "fillOpacity": 40 if panel.stack else 8, "showPoints": "never",
        "spanNulls": False, "stacking": {"mode": "normal" if panel.stack else "none", "group": "A"},
        "thresholdsStyle": {"mode": "line" if panel.steps else "off"},
    }  # fmt: skip


def _options(panel: Panel) -> Json:
    match panel.kind:
        case "stat":
            return {
                "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}, "colorMode": "value",
                "graphMode": "area", "justifyMode": "auto", "orientation": "auto", "textMode": "auto",
            }  # fmt: skip
        case "heatmap":
            return {
                "calculate": False, "cellGap": 1, "showValue": "never", "legend": {"show": True},
                "color": {
                    "mode": "scheme", "scheme": "Blues", "fill": "blue", "scale": "exponential", "exponent": 0.5,
                    "steps": 64, "reverse": True,
                },
                "yAxis": {"unit": panel.unit, "axisPlacement": "left"}, "rowsFrame": {"layout": "le"},
                "filterValues": {"le": 1e-9}, "exemplars": {"color": "orange"},
                "tooltip": {"mode": "single", "yHistogram": False, "showColorScale": False},
            }  # fmt: skip
        case "table":
            return {"showHeader": True, "cellHeight": "sm", "frameIndex": 0}
        case _:
            return {
                "legend": {
                    "displayMode": "table", "placement": "bottom", "showLegend": True, "calcs": ["lastNotNull", "max"],
                },
                "tooltip": {"mode": "multi", "sort": "desc"},
            }  # fmt: skip
