"""What the server says about itself: one line an event, `key=value` or JSON, on standard error.

    2026-11-21T03:00:00.123Z INFO published topic=orders sequence=42

Nothing that a client chose can end a line or look like another field.
"""

from __future__ import annotations

import json
import logging
import math
import re
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TextIO

LOGGER = "pubsub"

_OWN_FIELDS = frozenset({"time", "level", "event", "exception"})
_NEEDS_QUOTES = re.compile(r"[\s\"=\\]")


def event(
    level: int, name: str, /, *, exception: BaseException | None = None, **fields: object
) -> None:
    """Log an event: a word and its facts. Costs next to nothing when the level is off."""
    logger = logging.getLogger(LOGGER)
    if logger.isEnabledFor(level):
        logger.log(level, name, exc_info=exception, extra={"fields": fields}, stacklevel=2)


def configure(level: str, form: str, stream: TextIO | None = None) -> None:
    """Send the server's events of a level and above, and the libraries' warnings, to a stream.

    `form` is `text` or `json`; the stream is standard error. Doing it again replaces the first.
    """
    handler = _Handler(stream or sys.stderr)
    handler.setFormatter(JSONFormatter() if form == "json" else TextFormatter())
    root = logging.getLogger()
    for earlier in [each for each in root.handlers if isinstance(each, _Handler)]:
        root.removeHandler(earlier)
    root.addHandler(handler)
    logging.getLogger(LOGGER).setLevel(level.upper())


class Line(NamedTuple):
    """An event that was logged, as its observers get it."""

    timestamp: float
    level: str
    event: str
    fields: Mapping[str, Any]
    exception: BaseException | None


def observe(hear: Callable[[Line], None]) -> Callable[[], None]:
    """Have a function hear of every warning and error, in the thread that logs it; ends it again.

    It must not wait. What it logs itself, it does not hear.
    """
    handler = _Observer(hear)
    root = logging.getLogger()
    root.addHandler(handler)
    return lambda: root.removeHandler(handler)


class _Observer(logging.Handler):
    def __init__(self, hear: Callable[[Line], None]) -> None:
        super().__init__(logging.WARNING)
        self._hear = hear
        self._hearing = threading.local()

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(self._hearing, "is_under_way", False):
            return
        self._hearing.is_under_way = True
        try:
            name, fields = _facts(record)
            exception = record.exc_info[1] if record.exc_info else None
            self._hear(Line(record.created, record.levelname.lower(), name, fields, exception))
        except Exception:  # noqa: BLE001 - as every handler of logging does: said, never raised
            self.handleError(record)
        finally:
            self._hearing.is_under_way = False


class _Handler(logging.StreamHandler[TextIO]):
    """Ours, so that setting up again finds it and leaves other people's handlers alone."""


class TextFormatter(logging.Formatter):
    """`TIME LEVEL event key=value`; a traceback follows on lines of its own, set in."""

    def format(self, record: logging.LogRecord) -> str:
        name, fields = _facts(record)
        words = [_timestamp(record), record.levelname, _word(name)]
        words += [f"{key}={_word(value)}" for key, value in fields.items()]
        lines = [" ".join(words)]
        for part in _traceback(record):
            lines += ["    " + _printable(line) for line in part.rstrip("\n").split("\n")]
        return "\n".join(lines)


class JSONFormatter(logging.Formatter):
    """One JSON object a line, ASCII only; a traceback is the field `exception`."""

    def format(self, record: logging.LogRecord) -> str:
        name, fields = _facts(record)
        line = {"time": _timestamp(record), "level": record.levelname.lower(), "event": name}
        if trace := "".join(_traceback(record)):
            line["exception"] = trace
        return json.dumps({**line, **fields})


def _facts(record: logging.LogRecord) -> tuple[str, dict[str, Any]]:
    """The event and its fields; a library's line becomes the event `log` with its text."""
    fields = getattr(record, "fields", None)
    if not isinstance(fields, dict):
        return "log", {"logger": record.name, "text": record.getMessage()}
    return str(record.msg), {
        f"{key}_" if key in _OWN_FIELDS else key: _plain(value) for key, value in fields.items()
    }


def _plain(value: object) -> Any:
    """A value as JSON can hold it; what JSON does not know becomes its text."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return str(value)


def _word(value: object) -> str:
    """A value as one word: quoted and escaped where it could be taken for more than one."""
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    if not text.isprintable():
        return json.dumps(text)
    if not text or (isinstance(value, str) and _NEEDS_QUOTES.search(text)):
        return json.dumps(text, ensure_ascii=False)
    return text


def _printable(line: str) -> str:
    return line if line.isprintable() else json.dumps(line)[1:-1]


def _traceback(record: logging.LogRecord) -> Iterator[str]:
    if record.exc_info and record.exc_info[1] is not None:
        yield from traceback.format_exception(record.exc_info[1])


def _timestamp(record: logging.LogRecord) -> str:
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{seconds}.{int(record.created * 1000) % 1000:03d}Z"
