"""The official JavaScript client, as it comes from npm, against a real server."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from javascript import installed
from server import ROOT, RunningServer

pytestmark = pytest.mark.javascript

CLIENT = ROOT / "tests" / "js-client"
PATIENCE = 60.0


@pytest.fixture(scope="module")
def programs(pytestconfig: pytest.Config) -> Path:
    """The folder of the programs, with the client beside them."""
    folder = installed(CLIENT, pytestconfig.cache.mkdir("javascript"))
    for program in CLIENT.glob("*.mjs"):
        shutil.copy(program, folder)
    return folder


def run(folder: Path, program: str, *arguments: str) -> str:
    ended = subprocess.run(
        ["node", program, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.parametrize("transports", ["websocket", "polling", "polling,websocket"])
def test_the_official_client_can_do_all_of_it(
    server: RunningServer, programs: Path, transports: str
) -> None:
    topic = f"js over {transports}"
    said = run(programs, "client.mjs", server.url, transports, topic)
    assert json.loads(said) == {"received": 306}
    rows = server.get("/messages", topic=topic, limit=1_000)
    assert [row["sequence"] for row in rows] == list(range(307, 0, -1))
    assert rows[-2]["message"] == {"text": '"\\\u0000', "list": [None, 1.5, [], {}]}
    (consumption,) = server.get("/consumptions", topic=topic)
    assert (consumption["consumer"], consumption["message_id"]) == ("js", "m-1")
    server.until(lambda: not server.get("/clients"))


def test_big_integers_reach_the_wire_unchanged(server: RunningServer, programs: Path) -> None:
    number = 123456789012345678901234567890
    server.publish("big", {"n": number})
    packet = run(programs, "big.mjs", server.url, "big")
    assert json.loads(packet[1:])[1]["message"] == {"n": number}
