"""The Python client: `PubSubClient`. It needs `pip install 'python-pubsub-server[client]'`."""

from __future__ import annotations

from .pubsub import PubSubClient
from .values import After, ClientError, Receipt, Received

__all__ = ["After", "ClientError", "PubSubClient", "Receipt", "Received"]
