from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from loops import BACKENDS, PATIENCE, run_on_loop
from python_pubsub_server import logs
from python_pubsub_server.alarms import LONGEST_TEXT, MOST_KEPT, Alarm, Alarms, without_secrets
from python_pubsub_server.runtime import Event, Runtime


class Heard:
    """Alarms, and what was passed on."""

    def __init__(self, runtime: Runtime) -> None:
        self.alarms = Alarms(runtime, self._take)
        self.passed_on: list[Alarm] = []
        self._changed: Event = runtime.event()

    def _take(self, alarm: Alarm) -> None:
        self.passed_on.append(alarm)
        self._changed.set()

    def wait(self, number: int) -> list[Alarm]:
        while len(self.passed_on) < number:
            self._changed.clear()
            assert self._changed.wait(PATIENCE)
        return self.passed_on


def tell(backend: str, story: Callable[[Runtime, Heard], None]) -> None:
    def run(runtime: Runtime) -> bool:
        heard = Heard(runtime)
        try:
            story(runtime, heard)
        finally:
            heard.alarms.close()
        return True

    run_on_loop(backend, run)


@pytest.mark.parametrize("backend", BACKENDS)
def test_warnings_and_errors_are_passed_on_from_any_thread(backend: str) -> None:
    def story(runtime: Runtime, heard: Heard) -> None:
        logs.event(logging.INFO, "not_worth_an_alarm")
        logs.event(logging.WARNING, "closed_as_slow", connection="abc")
        threads = runtime.native_threads(1, "writer")
        threads.run(
            lambda: logs.event(logging.ERROR, "commit_failed", exception=OSError("disk")), timeout=5
        )
        slow, failed = heard.wait(2)
        assert (slow.level, slow.event, slow.text) == (
            "warning",
            "closed_as_slow",
            "connection=abc",
        )
        assert (failed.level, failed.event, failed.text) == (
            "error",
            "commit_failed",
            "exception=OSError",
        )
        assert slow.timestamp <= failed.timestamp
        assert threads.close(PATIENCE)

    tell(backend, story)


def test_the_last_ones_are_kept_and_nothing_is_heard_after_the_end() -> None:
    def story(runtime: Runtime, heard: Heard) -> None:
        for number in range(MOST_KEPT + 5):
            logs.event(logging.WARNING, "again", number=number)
        heard.wait(MOST_KEPT + 5)
        assert len(heard.alarms.recent) == MOST_KEPT
        assert heard.alarms.recent[-1].text == f"number={MOST_KEPT + 4}"
        heard.alarms.close()
        logs.event(logging.WARNING, "too_late")
        runtime.sleep(0)  # the turn in which it would be heard
        assert heard.passed_on[-1].event == "again"

    tell("eventlet", story)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"topic": "orders", "number": 3}, "topic=orders number=3"),
        ({"access_token": "abc"}, "access_token=***"),
        ({"api_key": "abc", "password": "p", "keys": 2}, "api_key=*** password=*** keys=2"),
        (
            {"reason": "cannot reach postgresql://me:p4ss@db:5432/x"},
            "reason=cannot reach postgresql://***@db:5432/x",
        ),
        ({"reason": "redis://:p4ss@cache/0 is away"}, "reason=redis://***@cache/0 is away"),
        ({"text": "Authorization: Bearer abc.def-1"}, "text=Authorization: Bearer ***"),
        ({"text": "got eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln!"}, "text=got ***!"),
        ({"path": "/x?access_token=abc&y=1"}, "path=/x?access_token=***&y=1"),
        ({"text": '{"password": "hunter2", "a": 1}'}, 'text={"password": "***", "a": 1}'),
    ],
)
def test_what_looks_like_a_secret_is_not_told(fields: dict[str, object], text: str) -> None:
    assert without_secrets(fields, None) == text


def test_a_text_is_cut() -> None:
    text = without_secrets({"reason": "x" * 100_000}, None)
    assert len(text) == LONGEST_TEXT
    assert text.endswith("…")
