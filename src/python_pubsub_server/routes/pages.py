"""The pages: templates, and headers that let them load nothing from anywhere else."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

from ..node import Node
from .http import Request, Response, Route

HTML = "text/html; charset=utf-8"
# Scripts and styles only from our own files, connections only to this server.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = (
    ("Content-Security-Policy", POLICY),
    ("Cache-Control", "no-cache"),
)
TEMPLATES = Environment(
    loader=PackageLoader("python_pubsub_server", "web/templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
)


def home(node: Node, request: Request) -> Response:
    leads_to = (("Location", "/control-panel.html"),)
    return Response(b"", status=302, content_type=HTML, headers=leads_to)


def _page(name: str) -> Route:
    """The page whose template has a name."""
    template = name.replace("_", "-") + ".html"

    def page(node: Node, request: Request) -> Response:
        body = TEMPLATES.get_template(template).render()
        return Response(body.encode(), content_type=HTML, headers=HEADERS)

    page.__name__ = name
    return page


control_panel = _page("control_panel")
network_graph = _page("network_graph")
circular_graph = _page("circular_graph")
activity_map = _page("activity_map")
demo = _page("demo")
chat = _page("chat")
cluster = _page("cluster")
websocket_test = _page("websocket_test")
