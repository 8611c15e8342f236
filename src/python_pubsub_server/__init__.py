"""A self-hosted real-time publish/subscribe server."""

__version__ = "0.1.0"
