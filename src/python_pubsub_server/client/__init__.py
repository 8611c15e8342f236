"""The Python client: `PubSubClient`, and `AsyncPubSubClient` for asyncio.

It needs `pip install 'python-pubsub-server[client]'`.
"""

from __future__ import annotations

from .asynchronous import AsyncChannel, AsyncPubSubClient
from .channel import Channel
from .pubsub import PubSubClient
from .values import After, ClientError, Present, Receipt, Received

__all__ = [
    "After",
    "AsyncChannel",
    "AsyncPubSubClient",
    "Channel",
    "ClientError",
    "Present",
    "PubSubClient",
    "Receipt",
    "Received",
]
