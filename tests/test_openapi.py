"""What is said to machines: complete, valid, and true of a real server."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import jwt
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error

from python_pubsub_server.namespaces import NAMESPACES, WEBSOCKETS
from python_pubsub_server.namespaces.asyncapi import document
from python_pubsub_server.namespaces.described import DESCRIBED
from python_pubsub_server.routes import ROUTES
from python_pubsub_server.routes.described import OPERATIONS
from server import RunningServer

SECRET = "a secret of thirty-two bytes, or more"


def token(**rights: Any) -> str:
    return jwt.encode({"sub": "ann", "exp": 4_000_000_000, "pubsub": rights}, SECRET, "HS256")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with RunningServer(tmp_path_factory.mktemp("server"), log_level="info") as running:
        yield running
        assert "Traceback" not in running.log


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("guarded")
    with RunningServer(folder, log_level="info", jwt_secret=SECRET) as running:
        yield running
        assert "Traceback" not in running.log


def test_every_route_is_described() -> None:
    assert sorted(route.__name__ for _, _, route in ROUTES) == sorted(OPERATIONS)


def test_every_event_is_described() -> None:
    assert {name: set(space.events) for name, space in NAMESPACES.items()} == {
        name: set(events.received) for name, events in DESCRIBED.items()
    }


def test_the_document_is_valid_and_has_every_route(server: RunningServer) -> None:
    said = server.get("/openapi.json")
    schemathesis.openapi.from_dict(said).validate()
    assert said["openapi"] == "3.1.0"
    shown = {(method.upper(), path) for path, ways in said["paths"].items() for method in ways}
    assert shown == {
        (method, re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", path)) for method, path, _ in ROUTES
    }
    names = [way["operationId"] for ways in said["paths"].values() for way in ways.values()]
    assert len(names) == len(set(names))
    assert "securitySchemes" not in said["components"]


def test_the_document_says_what_needs_a_token(guarded: RunningServer) -> None:
    said = guarded.get("/openapi.json")
    schemathesis.openapi.from_dict(said).validate()
    for path, ways in said["paths"].items():
        for method, way in ways.items():
            if path.endswith("/events") or method == "post":
                continue
            address = guarded.url + re.sub(r"\{\w+\}", "1", path)
            answer = guarded.http.get(address, timeout=20, allow_redirects=False)
            assert (answer.status_code == 401) == ("security" in way), path


def test_every_reference_leads_somewhere(server: RunningServer) -> None:
    for path in ("/openapi.json", "/asyncapi.json"):
        said = server.get(path)
        references = re.findall(r'"\$ref":\s*"#/([^"]+)"', json.dumps(said))
        assert references
        for reference in references:
            place = said
            for key in reference.split("/"):
                place = place[key.replace("~1", "/")]


def test_the_events_are_said_for_every_door(server: RunningServer) -> None:
    said = server.get("/asyncapi.json")
    assert said == json.loads(json.dumps(document(said["info"]["version"])))
    assert said["asyncapi"] == "3.0.0"
    assert len(said["channels"]) == len(NAMESPACES) + len(WEBSOCKETS)
    plain = said["channels"]["websocket_ws"]
    assert plain["address"] == "/ws"
    assert {"receive_publish", "send_message"} <= set(plain["messages"])
    assert said["operations"]["receive_websocket_ws"]["action"] == "receive"


# What the document says is tried on a real server

TRIED = [
    (method, re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", path))
    for method, path, route in ROUTES
    if OPERATIONS[route.__name__].content != "text/event-stream"  # such an answer does not end
    and not path.endswith(".html")  # nothing to try
]
MODES = list(schemathesis.GenerationMode)


@pytest.fixture(scope="module")
def open_api(server: RunningServer) -> Any:
    return schemathesis.openapi.from_url(server.url + "/openapi.json")


@pytest.fixture(scope="module")
def guarded_api(guarded: RunningServer) -> Any:
    return schemathesis.openapi.from_url(guarded.url + "/openapi.json")


def attempt(
    api: Any, method: str, path: str, mode: Any, act: Callable[[Any], object], count: int
) -> None:
    """Act with some requests for a route, right or wrong ones by the mode."""

    @settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=api[path][method].as_strategy(generation_mode=mode))
    def every(case: Any) -> None:
        wait = (case.query or {}).get("wait")
        if isinstance(wait, str) and re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", wait):
            case.query["wait"] = "0"  # not a minute for a message that does not come
        act(case)

    with contextlib.suppress(Unsatisfiable):  # nothing can be wrong where nothing is taken
        every()


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
@pytest.mark.parametrize(("method", "path"), TRIED)
def test_the_server_does_what_it_says(open_api: Any, method: str, path: str, mode: Any) -> None:
    succeeded = []

    def act(case: Any) -> None:
        succeeded.append(case.call_and_validate(timeout=20).status_code < 400)

    attempt(open_api, method, path, mode, act, 10)
    assert (
        any(succeeded)
        or mode is not MODES[0]
        or "{sequence}" in path
        or "{notification_id}" in path
    )


@pytest.mark.parametrize(("method", "path"), TRIED)
def test_the_server_does_what_it_says_to_who_has_a_token(
    guarded_api: Any, method: str, path: str
) -> None:
    everything = {"admin": True, "publish": ["*"], "subscribe": ["*", "$*"]}
    headers = {"Authorization": f"Bearer {token(**everything)}"}
    attempt(
        guarded_api, method, path, MODES[0],
        lambda case: case.call_and_validate(timeout=20, headers=headers), 4,
    )  # fmt: skip


@pytest.mark.parametrize(("method", "path"), TRIED)
def test_who_has_no_token_gets_nothing_and_breaks_nothing(
    guarded_api: Any, method: str, path: str
) -> None:
    is_free = "security" not in guarded_api[path][method].definition.raw

    def act(case: Any) -> None:
        response = case.call(timeout=20)
        case.validate_response(response, checks=[not_a_server_error])
        assert is_free or response.status_code in (400, 401)

    attempt(guarded_api, method, path, MODES[0], act, 2)
