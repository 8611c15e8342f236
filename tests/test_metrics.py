from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest
from prometheus_client.parser import text_string_to_metric_families

from python_pubsub_server.metrics import COMMIT_BUCKETS, Exposition, Gauges, Metrics
from server import ROOT, RunningServer
from system.clients import Client
from system.plain import PlainClient
from test_sse import Reader

IDLE = Gauges(
    connections={"socket.io": 2, "/ws": 1},
    subscriptions=3,
    topics=4,
    deliveries=5,
    waiting=6,
    waiting_bytes=7,
    is_draining=False,
)


def samples(text: str) -> dict[str, float]:
    """Every sample by its name and labels, as Prometheus reads them."""
    return {
        sample.name + "".join(f"{{{key}={value}}}" for key, value in sorted(sample.labels.items())):
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }  # fmt: skip


def rendered(metrics: Metrics, gauges: Gauges = IDLE) -> dict[str, float]:
    return samples(Exposition(metrics, {"version": "1"}).render(gauges).decode())


def test_what_was_counted_is_told() -> None:
    metrics = Metrics()
    metrics.stored(3, 1, 2)
    metrics.stored(1, 0, 0)
    metrics.closed_as_slow()
    metrics.commit_failed()
    metrics.refused("http", "invalid")
    metrics.refused("http", "invalid")
    metrics.refused("socket", "forbidden")
    told = rendered(metrics)
    assert told["pubsub_messages_published_total"] == 4
    assert told["pubsub_messages_duplicate_total"] == 1
    assert told["pubsub_consumptions_total"] == 2
    assert told["pubsub_slow_closes_total"] == 1
    assert told["pubsub_commit_failures_total"] == 1
    assert told["pubsub_refusals_total{code=invalid}{door=http}"] == 2
    assert told["pubsub_refusals_total{code=forbidden}{door=socket}"] == 1
    assert told["pubsub_info{version=1}"] == 1


def test_how_things_stand_is_told() -> None:
    told = rendered(Metrics())
    assert told["pubsub_connections{door=socket.io}"] == 2
    assert told["pubsub_connections{door=/ws}"] == 1
    assert told["pubsub_subscriptions"] == 3
    assert told["pubsub_topics"] == 4
    assert told["pubsub_deliveries_total"] == 5
    assert told["pubsub_journal_waiting"] == 6
    assert told["pubsub_journal_waiting_bytes"] == 7
    assert told["pubsub_draining"] == 0
    assert told["process_resident_memory_bytes"] > 0


def test_what_is_unknown_is_left_out() -> None:
    gauges = Gauges({}, 0, None, 0, 0, 0, True)
    told = rendered(Metrics(), gauges)
    assert "pubsub_topics" not in told
    assert told["pubsub_draining"] == 1


@pytest.mark.parametrize(
    ("seconds", "bucket"),
    [(0.0, "0.0001"), (0.0001, "0.0001"), (0.00011, "0.00025"), (10.0, "10.0"), (11.0, "+Inf")],
)
def test_a_commit_is_counted_in_its_bucket_and_those_above(seconds: float, bucket: str) -> None:
    metrics = Metrics()
    metrics.committed(seconds)
    told = rendered(metrics)
    bounds = [*map(str, COMMIT_BUCKETS), "+Inf"]
    counts = [told[f"pubsub_commit_seconds_bucket{{le={bound}}}"] for bound in bounds]
    first = bounds.index(bucket)
    assert counts == [0.0] * first + [1.0] * (len(bounds) - first)
    assert told["pubsub_commit_seconds_sum"] == seconds
    assert told["pubsub_commit_seconds_count"] == 1


# A real server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with RunningServer(tmp_path_factory.mktemp("server")) as running:
        yield running


def scrape(server: RunningServer) -> dict[str, float]:
    response = server.http.get(server.url + "/metrics", timeout=20)
    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    return samples(response.text)


def test_a_server_counts_what_happens(server: RunningServer) -> None:
    with Client(server.url) as client, PlainClient(server.url) as plain:
        stream = Reader(("127.0.0.1", server.port), "/topics/counted/events")
        stream.next()
        client.subscribe("counted")
        plain.subscribe("counted", "other")
        before = scrape(server)
        assert before["pubsub_connections{door=socket.io}"] == 1
        assert before["pubsub_connections{door=/ws}"] == 1
        assert before["pubsub_connections{door=events}"] == 1
        assert before["pubsub_subscriptions"] == 4
        server.publish("counted", 1)
        server.publish("counted", 1)
        server.http.post(server.url + "/publish", data="{", timeout=20)
        server.http.get(server.url + "/nowhere", timeout=20)
        plain.call("dance")
        client.call("consumed", {"consumer": "c", "topic": "counted", "message_id": "m-1"})
        after = scrape(server)
        stream.close()

    def grown(name: str) -> float:
        return after[name] - before.get(name, 0)

    assert grown("pubsub_messages_published_total") == 1
    assert grown("pubsub_messages_duplicate_total") == 1
    assert grown("pubsub_deliveries_total") == 3
    assert grown("pubsub_consumptions_total") == 1
    assert grown("pubsub_commit_seconds_count") >= 3
    assert grown("pubsub_refusals_total{code=invalid}{door=http}") == 1
    assert grown("pubsub_refusals_total{code=not_found}{door=http}") == 1
    assert grown("pubsub_refusals_total{code=not_found}{door=socket}") == 1
    assert after["pubsub_topics"] == 1
    gone = server.until(lambda: "pubsub_connections{door=events}" not in scrape(server))
    assert gone


def test_metrics_need_the_right_admin(tmp_path: Path) -> None:
    secret = "a secret of thirty-two bytes, or more"
    with RunningServer(tmp_path, jwt_secret=secret) as server:
        for rights, status in (({"admin": True}, 200), ({"subscribe": ["*"]}, 403), (None, 401)):
            headers = {}
            if rights is not None:
                claims = {"sub": "ann", "exp": 4_000_000_000, "pubsub": rights}
                headers["Authorization"] = f"Bearer {jwt.encode(claims, secret, 'HS256')}"
            answer = server.http.get(server.url + "/metrics", headers=headers, timeout=20)
            assert answer.status_code == status


def test_every_metric_is_documented(server: RunningServer) -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    ours = re.findall(
        r"^# TYPE (pubsub_\w+) ",
        server.http.get(server.url + "/metrics", timeout=20).text,
        re.MULTILINE,
    )
    assert len(ours) > 10
    missing = [name for name in ours if f"`{name}" not in text]
    assert missing == []
