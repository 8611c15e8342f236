"""The seconds in memory, and the minutes that are made of them."""

from __future__ import annotations

import json
from collections.abc import Sequence

from python_pubsub_server.model import NodeMinute
from python_pubsub_server.reports import MetricsReport, metrics_report
from python_pubsub_server.trends import KEPT_SECONDS, MOST_NODES, NodeTrends, Trends, minutes
from python_pubsub_server.vitals import METRICS, Sample
from samples import facts, sample


def report(node_id: str, samples: Sequence[Sample]) -> MetricsReport:
    return metrics_report(facts(node_id), "1.0", samples, None, None)


def test_the_seconds_of_each_node_are_kept() -> None:
    trends = Trends()
    trends.record(report("a", [sample(10.0, cpu_percent=1.0), sample(11.0, cpu_percent=2.0)]))
    trends.record(report("b", [sample(10.5, cpu_percent=3.0)]))
    trends.record(report("a", [sample(12.0, cpu_percent=4.0)]))
    assert trends.seconds("a", ["cpu_percent"], 11.0, 13.0) == [
        NodeTrends("a", "host-a", {"cpu_percent": [(11.0, 2.0, 2.0), (12.0, 4.0, 4.0)]})
    ]
    assert [found.node_id for found in trends.seconds(None, METRICS, 0.0, 99.0)] == ["b", "a"]
    assert trends.seconds(None, METRICS, 12.5, 99.0) == []
    (found,) = trends.seconds("b", ["commit_ms"], 0.0, 99.0)
    assert found.metrics == {"commit_ms": []}


def test_it_is_bounded_in_nodes_and_seconds() -> None:
    trends = Trends()
    for number in range(MOST_NODES + 5):
        trends.record(report(f"n{number}", [sample(1.0)]))
    assert len(trends.seconds(None, METRICS, 0.0, 2.0)) == MOST_NODES
    trends.record(report("n5", [sample(float(n)) for n in range(KEPT_SECONDS + 50)]))
    (found,) = trends.seconds("n5", ["waiting"], 0.0, 1e9)
    assert (len(found.metrics["waiting"]), found.metrics["waiting"][0][0]) == (KEPT_SECONDS, 50.0)


def test_a_minute_is_the_mean_and_the_highest_of_its_seconds() -> None:
    trends = Trends()
    trends.record(report("a", [sample(59.9, cpu_percent=50.0)]))
    trends.record(report("a", [sample(60.0, cpu_percent=1.0), sample(119.9, cpu_percent=4.0)]))
    trends.record(report("a", [sample(120.0, cpu_percent=99.0)]))
    minute = trends.minute("a", 1)
    assert minute is not None
    measured = json.loads(minute.measured)
    assert (minute.minute, minute.node_id, minute.host) == (1, "a", "host-a")
    assert measured["cpu_percent"] == [2.5, 4.0]
    assert "commit_ms" not in measured  # there was none
    assert trends.minute("a", 3) is None
    assert trends.minute("nobody", 1) is None


def test_minutes_are_shown_by_node_and_metric_the_oldest_first() -> None:
    rows = [
        NodeMinute(2, "a", "host-2", '{"waiting": [1, 2], "cpu_percent": [5, 6]}'),
        NodeMinute(1, "a", "host-1", '{"waiting": [3, 4]}'),
        NodeMinute(1, "b", "host-b", "{}"),
    ]
    assert minutes(rows, ["waiting", "cpu_percent"]) == [
        NodeTrends("b", "host-b", {"waiting": [], "cpu_percent": []}),
        NodeTrends(
            "a",
            "host-2",
            {"waiting": [(60.0, 3.0, 4.0), (120.0, 1.0, 2.0)], "cpu_percent": [(120.0, 5.0, 6.0)]},
        ),
    ]
