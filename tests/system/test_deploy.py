"""What `deploy/` and the Dockerfile say, with the same processes and without containers."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import requests.adapters
import yaml

from keys import signed_with_secret
from postgresql import PostgreSQL
from python_pubsub_server.config import table
from redis_server import RedisServer, free_port
from server import ROOT, RunningServer
from system.clients import Client, InlineClient, hang_up

DEPLOY = ROOT / "deploy"
SECRET = "a secret of more than 32 bytes, for tests"
RIGHTS = {"publish": ["*"], "subscribe": ["*"], "admin": True}
ADMIN = signed_with_secret(SECRET, {"sub": "root", "exp": 4e9, "pubsub": RIGHTS})
PATIENCE = 30.0


def compose() -> dict[str, Any]:
    text = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def node_settings(database_url: str, redis_url: str) -> dict[str, object]:
    """The environment of a node in compose.yaml, as settings, with what is here in it."""
    here = {
        "PUBSUB_DATABASE_URL": database_url,
        "PUBSUB_REDIS_URL": redis_url,
        "PUBSUB_JWT_SECRET": SECRET,
        "PUBSUB_TRUSTED_PROXIES": "127.0.0.0/8",
        "PUBSUB_LOG_FORMAT": "text",
    }
    wanted = compose()["services"]["node1"]["environment"]
    assert wanted.keys() == here.keys()
    return {name.removeprefix("PUBSUB_").lower(): value for name, value in here.items()}


class Nginx:
    """nginx with the configuration of `deploy/`, in front of servers of a test."""

    def __init__(self, directory: Path, nodes: list[RunningServer]) -> None:
        program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
        if program is None:
            pytest.skip("nginx is not installed")
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        text = (DEPLOY / "nginx.conf").read_text(encoding="utf-8")
        for number, node in enumerate(nodes, start=1):
            text = text.replace(f"node{number}:5000", f"127.0.0.1:{node.port}")
        text = text.replace("listen 8080", f"listen 127.0.0.1:{self.port}")
        text = text.replace(" /tmp/", f" {directory}/").replace("65536", "1024")
        text = text.replace("worker_connections 16384", "worker_connections 512")
        conf = directory / "nginx.conf"
        conf.write_text(text, encoding="utf-8")
        # Its workers must be able to write where the test may.
        user = "user root; " if os.geteuid() == 0 else ""
        self.command = [program, "-p", str(directory), "-c", str(conf), "-g", f"{user}daemon off;"]
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Nginx:
        checked = subprocess.run(
            [*self.command, "-t"], capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        assert checked.returncode == 0, checked.stderr
        assert "[warn]" not in checked.stderr
        self._process = subprocess.Popen(self.command, stderr=subprocess.PIPE, text=True)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.terminate()
        _, said = self._process.communicate(timeout=PATIENCE)
        print(said)  # the report of a test that fails has it


@pytest.fixture(scope="module")
def nodes(
    tmp_path_factory: pytest.TempPathFactory, postgresql: PostgreSQL
) -> Iterator[list[RunningServer]]:
    directory = tmp_path_factory.mktemp("nodes")
    with RedisServer(directory) as redis:
        settings = node_settings(postgresql.new_database(), redis.url)
        with (
            RunningServer(directory, **settings) as one,
            RunningServer(directory, **settings) as two,
        ):
            for node in (one, two):
                node.http.headers["Authorization"] = f"Bearer {ADMIN}"
            yield [one, two]


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory, nodes: list[RunningServer]) -> Iterator[Nginx]:
    with Nginx(tmp_path_factory.mktemp("nginx"), nodes) as running:
        nodes[0].until(lambda: is_there(running.url))
        yield running


def is_there(url: str) -> bool:
    try:
        return requests.get(f"{url}/health", timeout=PATIENCE).status_code == 200
    except requests.ConnectionError:
        return False


def publish(url: str, topic: str, number: int) -> None:
    body = {"topic": topic, "message_id": f"m-{number}", "message": number, "producer": "root"}
    answer = requests.post(
        f"{url}/publish", json=body, headers={"Authorization": f"Bearer {ADMIN}"}, timeout=PATIENCE
    )
    assert answer.status_code == 200, answer.text


def connections(nodes: list[RunningServer]) -> list[int]:
    return [node.get("/api/health")["websocket_clients"] for node in nodes]


def test_clients_that_use_websockets_only_need_no_stickiness(
    nginx: Nginx, nodes: list[RunningServer]
) -> None:
    clients = [Client(nginx.url, auth={"token": ADMIN}) for _ in range(4)]
    try:
        for number, client in enumerate(clients):
            client.subscribe("news", consumer=f"root/{number}")
        assert min(connections(nodes)) > 0  # of each node
        for number in range(1, 6):
            publish(nginx.url, "news", number)
        for client in clients:
            assert [one["sequence"] for one in client.messages(5)] == [1, 2, 3, 4, 5]
    finally:
        for client in clients:
            client.__exit__()


class From(requests.adapters.HTTPAdapter):
    """Requests that come from another address of this machine."""

    def __init__(self, address: str) -> None:
        self._address = address
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs, source_address=(self._address, 0))


class PollingClient:
    """Polls from an address of its own, and keeps the sequences that it is sent."""

    def __init__(self, url: str, address: str, topic: str) -> None:
        self.heard: list[int] = []
        self.is_enough = threading.Event()
        self.http = requests.Session()
        self.http.trust_env = False
        self.http.mount("http://", From(address))
        self.sio = InlineClient(http_session=self.http, reconnection=False, handle_sigint=False)
        self.sio.on("message", self._hear)
        self.sio.connect(url, auth={"token": ADMIN}, transports=["polling"], wait_timeout=20)
        body = {"consumer": f"root/{address}", "topics": [topic]}
        assert self.sio.call("subscribe", body, timeout=20)["status"] == "ok"

    def close(self) -> None:
        hang_up(self.sio)

    def _hear(self, message: dict[str, Any]) -> None:
        self.heard.append(message["sequence"])
        if len(self.heard) == 5:
            self.is_enough.set()


@pytest.mark.skipif(sys.platform != "linux", reason="one machine has many addresses on Linux only")
def test_clients_that_poll_find_their_node_again(nginx: Nginx, nodes: list[RunningServer]) -> None:
    # ip_hash looks at the first three numbers of an address.
    clients = [PollingClient(nginx.url, f"127.{n}.0.1", "polled") for n in range(1, 7)]
    try:
        assert min(connections(nodes)) > 0
        for number in range(1, 6):
            publish(nginx.url, "polled", number)
        for client in clients:
            assert client.is_enough.wait(PATIENCE)
            assert client.heard == [1, 2, 3, 4, 5]
    finally:
        for client in clients:
            client.close()


def test_events_are_not_held_back(nginx: Nginx) -> None:
    headers = {"Authorization": f"Bearer {ADMIN}"}
    with requests.get(
        f"{nginx.url}/topics/streamed/events", headers=headers, stream=True, timeout=PATIENCE
    ) as stream:
        lines = (line for line in stream.iter_lines(1, decode_unicode=True))
        assert next(lines)  # it has begun
        publish(nginx.url, "streamed", 1)
        assert "event: message" in lines  # reads on until it comes
        data = next(line for line in lines if line.startswith("data: "))
        assert json.loads(data.removeprefix("data: "))["message"] == 1


def test_who_waits_long_is_answered(nginx: Nginx) -> None:
    threading.Timer(0.5, publish, (nginx.url, "awaited", 1)).start()
    answer = requests.get(
        f"{nginx.url}/topics/awaited/messages?wait=20",
        headers={"Authorization": f"Bearer {ADMIN}"},
        timeout=PATIENCE,
    ).json()
    assert [one["message"] for one in answer["messages"]] == [1]


def test_a_node_that_stops_is_gone_round(nginx: Nginx, nodes: list[RunningServer]) -> None:
    assert nodes[1].stop() == 0
    try:
        for number in range(10):
            publish(nginx.url, "gone", number)
        with Client(nginx.url, auth={"token": ADMIN}) as client:
            answer = client.subscribe("gone", consumer="root/late", after="beginning")
            assert answer["topics"][0]["replayed"] == 10
    finally:
        nodes[1].start()


# What no engine is here to try


def test_the_services_of_compose_fit_together() -> None:
    whole = compose()
    services = whole["services"]
    known = {row.variable for row in table()}
    assert set(services) == {"node1", "node2", "nginx", "redis", "postgres"}
    for name, service in services.items():
        assert {"image", "restart", "networks"} <= service.keys(), name
        assert set(service["networks"]) <= whole["networks"].keys()
        for other, how in dict.fromkeys(service.get("depends_on", ())).items():
            assert other in services
            if how is not None:
                assert "healthcheck" in services[other]
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert source in whole["volumes"] or (DEPLOY / source).is_file(), volume
    for node in (services["node1"], services["node2"]):
        assert node["environment"].keys() <= known
        assert node["read_only"]
        assert (DEPLOY / node["build"] / "Dockerfile").is_file()
    upstreams = (DEPLOY / "nginx.conf").read_text(encoding="utf-8")
    assert set(re.findall(r"server (\w+):5000;", upstreams)) == {"node1", "node2"}
    assert "listen 8080;" in upstreams
    assert services["nginx"]["ports"] == ["8080:8080"]


def checked(program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """What a program of the development requirements says."""
    return subprocess.run(
        [Path(sys.executable).with_name(program), *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_compose_is_what_the_compose_specification_describes() -> None:
    schema = ("--builtin-schema", "vendor.compose-spec")
    found = checked("check-jsonschema", *schema, DEPLOY / "compose.yaml")
    assert found.returncode == 0, found.stdout


def test_the_dockerfile_has_no_faults_that_a_linter_finds() -> None:
    found = checked("hadolint", ROOT / "Dockerfile")
    assert (found.returncode, found.stdout) == (0, "")


def test_the_dockerfile_takes_what_the_build_is_sent() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    sent = re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text("utf-8"), re.MULTILINE)
    taken = [
        source
        for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE)
        for source in sources.split()
    ]
    assert sorted(taken) == sorted(sent)
    assert all((ROOT / path).exists() for path in sent)
    known = {row.variable for row in table()}
    assert set(re.findall(r"PUBSUB_\w+", text)) <= known
    assert re.search(r"^USER (?!root|0)\S+$", text, re.MULTILINE)
