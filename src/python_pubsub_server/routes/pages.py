"""The pages. Files as they are, and headers that let them load nothing from anywhere else."""

from __future__ import annotations

import re
from importlib.resources import files

from ..node import Node
from .http import Request, Response, Route

# Scripts and styles only from our own files, connections only to this server.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = (
    ("Content-Security-Policy", POLICY),
    ("Cache-Control", "no-cache"),
)
HTML = "text/html; charset=utf-8"
TEMPLATES = files("python_pubsub_server") / "web" / "templates"
PART = re.compile(r"<!-- ([a-z-]+) -->\n")


def home(node: Node, request: Request) -> Response:
    leads_to = (("Location", "/control-panel.html"),)
    return Response(b"", status=302, content_type=HTML, headers=leads_to)


def _page(name: str) -> Route:
    """The page of a name. A comment of one word in it stands for that file, which pages share."""
    file = name.replace("_", "-") + ".html"

    def page(node: Node, request: Request) -> Response:
        body = PART.sub(lambda found: _template(found[1] + ".html"), _template(file))
        return Response(body.encode(), content_type=HTML, headers=HEADERS)

    page.__name__ = name
    return page


def _template(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


control_panel = _page("control_panel")
network_graph = _page("network_graph")
circular_graph = _page("circular_graph")
activity_map = _page("activity_map")
demo = _page("demo")
chat = _page("chat")
cluster = _page("cluster")
websocket_test = _page("websocket_test")
