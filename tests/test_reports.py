"""Reports: written by one node, read by the others."""

from __future__ import annotations

import msgspec
import pytest

from python_pubsub_server.alerts import Alert
from python_pubsub_server.bulletin import REPORT_START, Bulletin
from python_pubsub_server.bus.local import LocalBus
from python_pubsub_server.cards import NodeFacts
from python_pubsub_server.health import Health, checked
from python_pubsub_server.hub import Hub
from python_pubsub_server.reports import Reports, health_report, metrics_report
from samples import facts, sample

ALERT = Alert("a", "disk_low:a", "disk_low", "begin", "a", "a", "full", 1.0)
HEALTH = Health("healthy", 2.0, "1.0", "a", 1.5, 3, {"bus": checked(None)})


def test_what_is_said_is_read_again_by_everybody() -> None:
    bulletin = Bulletin(LocalBus(), Hub())
    reports = Reports(bulletin)
    heard: list[tuple[str, bytes]] = []
    bulletin.on_report = lambda channel, payload: heard.append((channel, payload))
    said = [
        metrics_report(facts("a"), "1.0", [sample()], "broken", None),
        health_report(HEALTH, [ALERT]),
        ALERT,
    ]
    for report in said:
        reports.say(report)
    assert [channel for channel, _ in heard] == [
        "cluster:metrics",
        "cluster:health",
        "cluster:alerts",
    ]
    assert all(payload.startswith(REPORT_START) for _, payload in heard)
    assert [reports.read(channel, payload) for channel, payload in heard] == said
    with pytest.raises(msgspec.MsgspecError):
        reports.read("cluster:metrics", b'{"reported_by": "a"}')


def test_metrics_have_all_that_the_list_of_nodes_has() -> None:
    report = metrics_report(facts("a"), "1.0", [sample(1.0), sample(2.0, waiting=9)], None, None)
    assert {field.name for field in msgspec.structs.fields(NodeFacts)} <= set(
        msgspec.structs.asdict(report)
    )
    assert (report.waiting, report.last_seen, len(report.samples)) == (9, 2.0, 2)
