"""What is measured: the workloads as one table, what each yields, and what is aimed at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from generator import Result

MESSAGE_BYTES = 100
REPEATS = 3


@dataclass(frozen=True)
class Metric:
    """A figure of one run; `lower` says that less of it is better."""

    text: str
    unit: str
    lower: bool
    of: Callable[[Result], float]


def per_second(count: str) -> Callable[[Result], float]:
    return lambda result: result[count] / result["elapsed_seconds"]


DELIVERY_CPU = Metric(
    "server CPU a delivery",
    "µs",
    True,
    lambda result: result["cpu_seconds"] / max(result["delivered"], 1) * 1e6,
)
DELIVERIES = Metric("deliveries", "/s", False, per_second("delivered"))
PUBLISHES = Metric("publishes", "/s", False, per_second("published"))
CONSUMPTIONS = Metric("consumptions", "/s", False, per_second("consumed"))
DELIVERY_P99 = Metric(
    "delivery latency, p99", "ms", True, lambda result: result["delivery_latency"]["p99_us"] / 1e3
)
PUBLISH_P99 = Metric(
    "publish answered, p99", "ms", True, lambda result: result["answer_latency"]["p99_us"] / 1e3
)
PACED = "--subscribers 100 --publishers 1 --rate 100"
RECONNECT = Metric(
    "until the last one is back", "s", True, lambda result: median(result["storm_seconds"])
)
IDLE_CONNECTIONS = 5000
MEMORY = Metric(
    "memory a connection",
    "KB",
    True,
    lambda result: (result["memory_after_kb"] - result["memory_before_kb"]) / IDLE_CONNECTIONS,
)


@dataclass(frozen=True)
class Target:
    """What python-pubsub-server must reach: a ratio to a peer's figure, or without one a figure."""

    peer: str | None
    required: float
    aim: float


@dataclass(frozen=True)
class Workload:
    """`arguments` are the load generator's; `subscribe`, `publish` override the contender's own.

    `primed`: connect and publish a little before, so that what a server loads once is not
    counted as a connection's memory. `repeats`: of those that a target compares.
    """

    name: str
    title: str
    metric: Metric
    arguments: str
    contenders: tuple[str, ...]
    targets: tuple[Target, ...] = ()
    seconds: float = 4.0
    publish: str | None = None
    primed: bool = False
    repeats: int = REPEATS


FANOUT_PEERS = ("pubsub", "node-socketio", "nchan", "nats", "flask-socketio")

WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload(
            "fanout-1",
            "1,000 subscribers, 1 publisher",
            DELIVERY_CPU,
            "--subscribers 1000 --publishers 1",
            FANOUT_PEERS,
            (Target("node-socketio", 0.65, 0.5),),
        ),
        Workload(
            "fanout-32",
            "1,000 subscribers, 32 publishers",
            DELIVERIES,
            "--subscribers 1000 --publishers 32",
            FANOUT_PEERS,
            (Target("node-socketio", 10, 20), Target("nchan", 5, 8)),
        ),
        Workload(
            "topics",
            "100 topics of 10 subscribers, 32 publishers",
            DELIVERIES,
            "--subscribers 1000 --topics 100 --publishers 32",
            FANOUT_PEERS,
        ),
        Workload(
            "publish",
            "POST /publish over 32 connections",
            PUBLISHES,
            "--publishers 32",
            ("pubsub", "pubsub-trimming", "express-full"),
            (Target("express-full", 2.5, 4),),
        ),
        Workload(
            "publish-normal",
            "POST /publish over 32 connections, synchronous = NORMAL",
            PUBLISHES,
            "--publishers 32",
            ("pubsub-normal", "express-normal"),
        ),
        Workload(
            "batch",
            "POST /publish/batch of 100 over 4 connections",
            PUBLISHES,
            "--publishers 4 --batch 100",
            ("pubsub", "pubsub-trimming", "express-full", "express-normal"),
            (Target("express-full", 1.2, 2),),
        ),
        Workload(
            "socketio-publish",
            "Socket.IO publish with acknowledgement over 32 connections",
            PUBLISHES,
            "--publishers 32",
            ("pubsub", "express-full", "express-normal", "node-socketio", "flask-socketio"),
            (Target("express-full", 2, 4),),
            publish="socketio",
        ),
        Workload(
            "latency",
            "500 messages/s to 100 subscribers, open loop",
            DELIVERY_P99,
            "--subscribers 100 --publishers 8 --rate 500",
            ("pubsub", "node-socketio", "nchan", "nats", "express-full", "flask-socketio"),
            (Target("node-socketio", 0.5, 0.15),),
            seconds=6,
            repeats=7,  # one message in a hundred decides, and any other program delays as many
        ),
        Workload(
            "idle",
            f"{IDLE_CONNECTIONS:,} idle subscribers",
            MEMORY,
            f"--subscribers {IDLE_CONNECTIONS} --settle 2 --warmup 0 --burst 32",
            FANOUT_PEERS,
            (Target(None, 25, 12),),
            seconds=0,
            primed=True,
        ),
        Workload(
            "storm",
            "1,000 subscribers cut off at once and back at once",
            RECONNECT,
            "--subscribers 1000 --storms 3 --warmup 0",
            FANOUT_PEERS,
            seconds=0,
        ),
        Workload(
            "paced",
            "100 messages/s to 100 subscribers that acknowledge nothing, open loop",
            PUBLISH_P99,
            PACED,
            ("pubsub",),
        ),
        Workload(
            "paced-consumed",
            "the same with subscribers that acknowledge each: 10,000 consumptions/s beside it",
            PUBLISH_P99,
            f"{PACED} --consume",
            ("pubsub",),
        ),
        Workload(
            "consumed",
            "100 consumers that acknowledge every delivery, beside 1 publisher",
            CONSUMPTIONS,
            "--subscribers 100 --publishers 1 --consume",
            ("pubsub", "express-full", "express-normal"),
        ),
        Workload(
            "ceiling-deliveries",
            "what the generator can receive: 1,000 subscribers of the sink",
            DELIVERIES,
            "--subscribers 1000 --publishers 1",
            ("sink",),
            seconds=2,
        ),
        Workload(
            "ceiling-publishes",
            "what the generator can send: 32 publishers to the sink",
            PUBLISHES,
            "--publishers 32",
            ("sink",),
            seconds=2,
        ),
    )
}
