"""Numbers for the metrics, and the catalogue itself: what it costs, and that it cannot grow."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from manyhands import metrics
from manyhands.measure import LONGEST, Few, elapsed, observe_all, waited

NOW = 1_700_000_000.0
#: Every label there is; its values are named in the code or by the settings of the installation, or are kept few.
LABELS = {
    "type", "reason", "role", "verdict", "judge", "result", "rung", "how", "kind", "code", "state", "process", "fate",
    "version", "use", "action",
}  # fmt: skip
#: How many values a label can have at most, with two judges.
VALUES = {
    "type": 10, "reason": 3, "role": 2, "verdict": 3, "judge": 2, "result": 3, "rung": 5, "how": 4, "kind": 3,
    "code": 21, "state": 3, "process": 1, "fate": 3, "version": 1, "use": 2,
    "action": 3,
}  # fmt: skip


def test_elapsed() -> None:
    """Seconds between two clocks, of which the other may be ahead."""
    assert elapsed(NOW - 2.5, NOW) == 2.5
    assert elapsed(int(NOW) - 3, NOW) == 3.0
    assert elapsed(NOW + 0.4, NOW) == 0.0


@pytest.mark.parametrize(
    "forged",
    [None, True, "1700000000", b"1", [], {}, 0, 0.0, -1e300, 1e300, 10**400, -(10**400), NOW + 7200, NOW - LONGEST - 1]
    + [float(text) for text in ("nan", "inf", "-inf")],
)
def test_a_forged_time_counts_as_none(forged: object) -> None:
    """Of the wrong type, far ahead or far back: it is passed over and spoils no sum."""
    assert elapsed(forged, NOW) is None
    if forged != "1700000000":  # in a header it is text
        assert waited({"mh-published": forged}, NOW) is None
        assert waited({"mh-published": str(forged)}, NOW) is None


def test_waited() -> None:
    """The wait of a suite for its first judgment; a later try has none."""
    assert waited({"mh-published": f"{NOW - 4:.3f}", "traceparent": "x"}, NOW) == 4
    assert waited({}, NOW) is None
    assert waited({"mh-published": f"{NOW - 4:.3f}", "mh-history": ["attempt 1"]}, NOW) is None
    assert waited({"mh-published": f"{NOW - 4:.3f}", "mh-deliveries": 2}, NOW) is None


@pytest.mark.parametrize("values", [[], [0.5], [0.5] * 3, [0, 0.1, 0.10001, 1, 2, 1e9]])
def test_observe_all(values: list[float]) -> None:
    """Many at once are what they are one by one."""
    registry = CollectorRegistry()
    one = Histogram("one", "One by one.", buckets=(0.1, 1), registry=registry)
    many = Histogram("many", "At once.", buckets=(0.1, 1), registry=registry)
    for value in values:
        one.observe(value)
    observe_all(many, values)
    said = [{s.name.partition("_")[2] + str(s.labels): s.value for s in m.samples} for m in registry.collect()]
    assert said[0] == pytest.approx(said[1])


def test_few() -> None:
    """A label that others write has so many values and no more; those that are known are always themselves."""
    few = Few(2, ("error",))
    assert [few(value) for value in ("a", "x" * 65, "b", "c", "a", "error", "b")] == [
        "a", "other", "b", "other", "a", "error", "b",
    ]  # fmt: skip


def test_no_label_grows() -> None:
    """No metric has a label that could tell jobs, tasks, suites, workers or people apart."""
    found = {label for metric in catalogue() for label in metric._labelnames}
    assert found == LABELS


def catalogue() -> list[Counter | Gauge | Histogram]:
    """Every metric."""
    return [metric for metric in vars(metrics).values() if isinstance(metric, (Counter, Gauge, Histogram))]


def test_series_are_bounded() -> None:
    """Two judges, every label value there can be, and all three services in one process: 500 series at most."""
    program = f"""
import itertools, json, sys
from manyhands import metrics
from manyhands.ops import Ops
values = {VALUES!r}
for metric in vars(metrics).values():
    names = getattr(metric, "_labelnames", ())
    for labels in itertools.product(*(range(values[name]) for name in names)):
        if names: metric.labels(*map(str, labels))
lines = Ops({{}}).reply("/metrics", "application/openmetrics-text").body.decode().splitlines()
print(json.dumps(sum(not line.startswith("#") for line in lines)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    print(done.stdout)
    assert 100 < json.loads(done.stdout) <= 500


def test_built() -> None:
    """A process says which version it is, and counts failed publishes from none on."""
    from manyhands import __version__

    metrics.built("producer")
    assert metrics.BUILD_INFO.labels(__version__, "producer")._value.get() == 1
    assert REGISTRY.get_sample_value("manyhands_publish_failed_total", {"reason": "unroutable"}) is not None
