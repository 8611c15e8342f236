"""docs/benchmarks.md, written from a run and never by hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from contenders import CONTENDERS
from report import Row, markdown_table, target_table, verdicts, workload_table
from workloads import MESSAGE_BYTES, WORKLOADS

INTRODUCTION = """\
# Benchmarks

Written by `make bench`; edit `benchmarks/page.py`, not this page.

The server runs on one core and the load generator (C over epoll) on another, over loopback.
Messages carry {size} bytes. Every contender runs in turn, on the same machine, inside the same
quarter of an hour; where there are several runs the figure is their median and `runs` shows all.
Absolute figures drift by a third with the machine and its neighbours; ratios hold better.

- Machine: {machine}
- Date: {date}
- Command: `{command}`

![The figures as bars](benchmarks.svg)

## Targets

This server with its defaults, except that nothing is trimmed, as its peers trim nothing: every
message is committed with full durability before it is delivered. The rows called `trimming` keep
the default retention of 100,000 messages a topic and delete what is beyond it while they are
measured.
A ratio is this server's figure divided by the peer's.
"""

METHOD = """\
## How it is measured

- **Closed loop** (every workload but `latency`): a publisher sends its next request when the last
  one was answered. **Open loop** (`latency`): message *n* is due at start + *n*/rate, and latency
  counts from that moment, so a server that falls behind cannot hide it.
- **CPU** is user and system time of all of the server's processes (`/proc/PID/stat`) inside the
  measured window; **memory** is the growth of their resident size (`/proc/PID/status`).
- **server** and **generator** are the share of its core that each used, **others** what anything
  else took from the server's core meanwhile. Past 5 % a run is disturbed: it counts only where no
  calm one is at hand, and says so.
  The sink rows are the generator's ceiling: a program that answers and sends canned bytes without
  looking at them.
- After each run the generator waits up to 5 s until all that was published has arrived, and the
  row says so when it did not.
- Peers run as their users run them: Socket.IO alone and Flask-SocketIO store nothing and only fan
  out (Flask-SocketIO with `max_size` raised, without which it serves 1,024 connections and hangs
  on the next); express with better-sqlite3 commits once a request, or once a batch, under unique
  indexes on topic and sequence and on message id; nchan is one nginx worker with its messages in
  memory; NATS is core publish and subscribe over TCP, without WebSocket frames to make, told by
  `GOMAXPROCS` that it has one core. This server and the peers answer a publish when it is stored
  (or, storing nothing, when it is on its way).

A piece of it: `python benchmarks/run.py --workload fanout-32 --peer nchan --seconds 3`; the list:
`python benchmarks/run.py --list`. Peers: `npm install --prefix benchmarks/peers`, and Debian's
`nginx-light`, `libnginx-mod-nchan` and `nats-server`; one that is missing is skipped and said so.
"""


MONITORING = """\
## Monitoring routes and the size of the log

The median of 100 requests to each route over one connection, with 1,000 and with 1,000,000 stored
messages, each consumed once; a route may take at most twice as long on the large log. On its own:
`python benchmarks/monitoring.py`.
"""

REPLAY = """\
## Replays

10,000 messages that were published before, replayed to one client, beside the time that publishing
them took (committed with full durability); then 1,000 clients that reconnect at once and missed 100
messages each, from the first connection until the last of them has its last message, with the
server's peak memory before and after. A replay must be five times as fast as the publishes. On its
own: `python benchmarks/replay.py`.
"""

CHAT = """\
## A chat room of a thousand

1,000 users of `/chat/ws`, by one Python program on the generator's core: all join one room at once,
one of them speaks, all connections are lost, and all join again behind the last message that they
know. Seconds are until the last user has what the step is about; CPU and megabytes until all is
told, lists of users and notices of who came included. On its own: `python benchmarks/chat.py`.
"""

FLOOD = """\
## A flood of strangers

With authentication on, twenty publishers (200 messages a second together, each counted from when it
is due) and twenty subscribers; beside them a process that opens connections as fast as what they
leave of the generator's core allows, 64 at a time, or 1,000 requests that never come to an end.
Milliseconds are those of the authenticated. On its own: `python benchmarks/flood.py`.
"""

NODES = """\
## Several processes on one log

1, 2 and 3 processes, each on a port of its own, share a database and have a Redis between them; one
alone has the Redis, too. SQLite and PostgreSQL both commit with full durability. Nothing is bound
to a core here: the processes, PostgreSQL, Redis and the load generator share the cores of the
machine, so more processes bring only what there are cores for. CPU is percent of one core, of the
processes alone, without PostgreSQL and Redis. Publishers and subscribers are shared out among the
processes: 32 publishers; then 32, and 1,000 subscribers of one topic; then, open loop, 200 messages
a second by 8 publishers at the first process to 100 subscribers at the last one (of one process: at
the same). One run each. On its own: `python benchmarks/nodes.py`.
"""

PAGES = """\
## The pages under load

5,000 messages a second over 200 topics to 500 subscribed clients (durability `normal`, so that the
disk does not set the pace), while headless Chromium, without a graphics card and on the generator's
core, shows one page. Frames are counted by `requestAnimationFrame`.
The server's figures are percent of a core, each the median of several turns with the page and
without it, and between what they lay. What is for the page is counted by the server itself with
the CPU clocks of its threads: answering the page's requests, with the reads of the database;
telling dashboards what happens; writing to the page's connection. Its share is of the CPU that
5,000 messages a second and the page take. A page should have 30 frames a second, and take less
than 2 % of the server's CPU; opening it costs once what the last figure says, in milliseconds of
CPU. On its own: `python benchmarks/page_costs.py`.
"""


@dataclass(frozen=True)
class Occasion:
    """When, where and how figures were taken."""

    machine: str
    date: str
    command: str
    compiler: str
    versions: Mapping[str, str]


@dataclass(frozen=True)
class Tables:
    """What is measured beside the workloads, each as a table."""

    replays: str
    routes: str
    pages: str
    chat: str
    flood: str
    nodes: str


def sections(rows: Sequence[Row]) -> Iterable[str]:
    for workload in WORKLOADS.values():
        shown = [row for row in rows if row.workload == workload.name]
        if shown:
            yield f"### {workload.title}\n\n`{workload.name}`: `{workload.arguments}`\n"
            yield workload_table(workload, shown) + "\n"


def page(rows: Sequence[Row], tables: Tables, occasion: Occasion) -> str:
    head = INTRODUCTION.format(
        size=MESSAGE_BYTES,
        machine=occasion.machine,
        date=occasion.date,
        command=occasion.command,
    )
    versions = markdown_table(
        ("contender", "version"),
        (
            *((CONTENDERS[name].title, version) for name, version in occasion.versions.items()),
            ("the load generator, compiled by", occasion.compiler),
        ),
    )
    return "\n".join(
        (
            *(head, target_table(verdicts(rows)), "", "## Figures", ""),
            *(*sections(rows), REPLAY, tables.replays, "", MONITORING, tables.routes, ""),
            *(
                CHAT,
                tables.chat,
                "",
                FLOOD,
                tables.flood,
                "",
                NODES,
                tables.nodes,
                "",
                PAGES,
                tables.pages,
                "",
                METHOD,
                "## Versions",
                "",
                versions,
                "",
            ),
        )
    )
