"""The HTTP/1.1 server, the same on every loop: readiness callbacks, and llhttp as its parser."""

from .connection import TAKE_OVER, Direct
from .limits import Limits
from .outbox import Outbox
from .seats import Seats
from .server import HTTPServer, take_over

__all__ = ["TAKE_OVER", "Direct", "HTTPServer", "Limits", "Outbox", "Seats", "take_over"]
