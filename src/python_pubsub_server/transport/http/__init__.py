"""The HTTP/1.1 server, the same on every loop: readiness callbacks, and llhttp as its parser."""

from .connection import Direct
from .limits import Limits
from .server import HTTPServer, take_over

__all__ = ["Direct", "HTTPServer", "Limits", "take_over"]
