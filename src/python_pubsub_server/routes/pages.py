"""The pages. Files as they are, and headers that let them load nothing from anywhere else."""

from __future__ import annotations

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
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-cache"),
)
TEMPLATES = files("python_pubsub_server") / "web" / "templates"


def home(node: Node, request: Request) -> Response:
    return Response(b"", status=302, headers=(("Location", "/control-panel.html"),))


def control_panel(node: Node, request: Request) -> Response:
    return _page("control-panel.html")


def _page(name: str) -> Response:
    """A page with the shell that all pages share in the place that is kept for it."""
    shell = (TEMPLATES / "shell.html").read_bytes()
    body = (TEMPLATES / name).read_bytes().replace(b"<!-- shell -->\n", shell, 1)
    return Response(body, content_type="text/html; charset=utf-8", headers=HEADERS)
