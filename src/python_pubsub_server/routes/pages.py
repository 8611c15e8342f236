"""The pages. Files as they are, and headers that let them load nothing from anywhere else."""

from __future__ import annotations

import re
from importlib.resources import files

from ..node import Node
from .http import Request, Response

# Scripts and styles only from our own files, connections only to this server.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = (
    ("Content-Security-Policy", POLICY),
    ("Cache-Control", "no-cache"),
)
TEMPLATES = files("python_pubsub_server") / "web" / "templates"
PART = re.compile(r"<!-- ([a-z-]+) -->\n")


def home(node: Node, request: Request) -> Response:
    leads_to = (("Location", "/control-panel.html"),)
    return Response(b"", status=302, content_type="text/html; charset=utf-8", headers=leads_to)


def control_panel(node: Node, request: Request) -> Response:
    return _page("control-panel.html")


def network_graph(node: Node, request: Request) -> Response:
    return _page("network-graph.html")


def circular_graph(node: Node, request: Request) -> Response:
    return _page("circular-graph.html")


def activity_map(node: Node, request: Request) -> Response:
    return _page("activity-map.html")


def demo(node: Node, request: Request) -> Response:
    return _page("demo.html")


def chat(node: Node, request: Request) -> Response:
    return _page("chat.html")


def cluster(node: Node, request: Request) -> Response:
    return _page("cluster.html")


def websocket_test(node: Node, request: Request) -> Response:
    return _page("websocket-test.html")


def _page(name: str) -> Response:
    """A page; a comment of one word in it stands for the file of that name, which pages share."""
    body = PART.sub(lambda found: _template(found[1] + ".html"), _template(name))
    return Response(body.encode(), content_type="text/html; charset=utf-8", headers=HEADERS)


def _template(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")
