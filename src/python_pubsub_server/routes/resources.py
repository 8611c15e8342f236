"""`/api/resources/<resource_id>/updates`: what became of a resource."""

from __future__ import annotations

from ..node import Node
from ..resources import parse_update
from .http import Request, Response, json_response
from .publishing import representation


def update_resource(node: Node, request: Request) -> Response:
    """Store an update and deliver it to the resource's subscribers."""
    request.query()
    fields = parse_update(request.json_body(node.settings.max_message_bytes))
    published = node.resources.update(request.identity, request.path["resource_id"], fields)
    return json_response(representation(node.epoch, published))
