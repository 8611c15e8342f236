"""The server's own warnings and errors, as far as those who watch it may know them.

The log has all of them and their tracebacks; here is what fits a dashboard: bounded in number and
length, and without what looks like a secret.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping

import msgspec

from . import logs
from .runtime import Runtime

MOST_KEPT = 50
MOST_WAITING = 100
LONGEST_TEXT = 500

_SECRET_NAME = re.compile(r"token|secret|passw|credential|authorization|cookie|key$", re.IGNORECASE)
_SECRETS = (
    (re.compile(r"(\w://)[^\s/@]*@"), r"\1***@"),  # a URL's user and password
    (re.compile(r"(?i)\b(bearer|basic) +[\w.~+/=-]+"), r"\1 ***"),
    (re.compile(r"\beyJ[\w-]+\.[\w-]*\.?[\w-]*"), "***"),  # a JWT (RFC 7519)
    (
        re.compile(
            r"(?i)\b(\w*(?:token|secret|password|passwd|api_?key))\b"
            r"([\"']?\s*[=:]\s*[\"']?)[^\s\"'&,;]+"
        ),
        r"\1\2***",
    ),
)


class Alarm(msgspec.Struct, frozen=True):
    """The event `server_error`. `event` is the log's word for it, `text` its facts."""

    timestamp: float
    level: str
    event: str
    text: str


class Alarms:
    """Hears the server's log from any thread, keeps the last alarms, passes each on (on the loop).

    What is logged faster than the loop can hear it is dropped here; the log has it.
    """

    def __init__(self, runtime: Runtime, on_alarm: Callable[[Alarm], None]) -> None:
        self.recent: deque[Alarm] = deque(maxlen=MOST_KEPT)
        self._runtime = runtime
        self._on_alarm = on_alarm
        self._waiting: deque[Alarm] = deque(maxlen=MOST_WAITING)
        self._stop = logs.observe(self._hear)

    def close(self) -> None:
        self._stop()

    def _hear(self, record: logs.Line) -> None:
        text = without_secrets(record.fields, record.exception)
        self._waiting.append(Alarm(record.timestamp, record.level, record.event, text))
        self._runtime.call_from_thread(self._pass_on)

    def _pass_on(self) -> None:
        while self._waiting:
            alarm = self._waiting.popleft()
            self.recent.append(alarm)
            self._on_alarm(alarm)


def without_secrets(fields: Mapping[str, object], exception: BaseException | None) -> str:
    """Facts as one line. Of an exception only its kind is told: its text may hold anything."""
    told = [f"{name}={'***' if _SECRET_NAME.search(name) else fields[name]}" for name in fields]
    if exception is not None:
        told.append(f"exception={type(exception).__name__}")
    text = " ".join(told)[: 4 * LONGEST_TEXT]  # before the search, so that its time is bounded
    for pattern, shown in _SECRETS:
        text = pattern.sub(shown, text)
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…"
