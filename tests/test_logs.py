from __future__ import annotations

import io
import json
import logging
import re

import pytest

from python_pubsub_server import logs

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


def one_line(stream: io.StringIO) -> str:
    lines = stream.getvalue().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def test_a_line_is_time_level_event_and_facts(stream: io.StringIO) -> None:
    logs.configure("info", "text", stream)
    logs.event(logging.INFO, "published", topic="orders", sequence=42, duplicate=False, after=None)
    expected = rf"{TIME} INFO published topic=orders sequence=42 duplicate=false after=null"
    assert re.fullmatch(expected, one_line(stream))


def test_the_time_is_utc_with_milliseconds() -> None:
    record = logging.LogRecord("pubsub", logging.INFO, "", 0, "started", None, None)
    record.created = 1795230000.1239
    record.fields = {}
    assert logs.TextFormatter().format(record) == "2026-11-21T03:00:00.123Z INFO started"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("plain", "plain"),
        ("Zoë/日本", "Zoë/日本"),
        ("", '""'),
        ("two words", '"two words"'),
        ("a=b", '"a=b"'),
        ('say "hi"', '"say \\"hi\\""'),
        ("back\\slash", '"back\\\\slash"'),
        ("x\n2026-11-21T03:00:00.123Z INFO forged", '"x\\n2026-11-21T03:00:00.123Z INFO forged"'),
        ("\x1b[31mred", '"\\u001b[31mred"'),
        ("next\x85line\u2028end", '"next\\u0085line\\u2028end"'),
        ("\u202eright-to-left", '"\\u202eright-to-left"'),
        ("\ud800", '"\\ud800"'),
        (["a", "b c"], '["a","b c"]'),
        (1.5, "1.5"),
        (float("nan"), "nan"),
        (ValueError("no"), "no"),
    ],
)
def test_what_a_client_chose_stays_one_value(
    stream: io.StringIO, value: object, shown: str
) -> None:
    logs.configure("info", "text", stream)
    logs.event(logging.INFO, "subscribed", consumer=value)
    assert one_line(stream).endswith(f"Z INFO subscribed consumer={shown}")


@pytest.mark.parametrize("value", ["a\nb", "\u2028", "日本", "\ud800", float("inf"), [1, "x"]])
def test_json_is_one_object_a_line(stream: io.StringIO, value: object) -> None:
    logs.configure("info", "json", stream)
    logs.event(logging.WARNING, "closed", reason=value, sequence=7)
    line = json.loads(one_line(stream))
    assert re.fullmatch(TIME, line.pop("time"))
    shown = "inf" if value == float("inf") else value
    assert line == {"level": "warning", "event": "closed", "reason": shown, "sequence": 7}


def test_a_fact_cannot_take_the_place_of_the_lines_own(stream: io.StringIO) -> None:
    logs.configure("info", "json", stream)
    logs.event(logging.ERROR, "refused", event="subscribe", level="x", time="y")
    line = json.loads(one_line(stream))
    assert (line["event"], line["level"]) == ("refused", "error")
    assert (line["event_"], line["level_"], line["time_"]) == ("subscribe", "x", "y")


def failure() -> ValueError:
    try:
        raise ValueError("first\n2026-11-21T03:00:00.123Z INFO forged")
    except ValueError as error:
        return error


def test_a_traceback_follows_set_in(stream: io.StringIO) -> None:
    logs.configure("info", "text", stream)
    logs.event(logging.ERROR, "task_failed", exception=failure(), task="trim")
    first, *rest = stream.getvalue().splitlines()
    assert first.endswith("ERROR task_failed task=trim")
    assert rest[0] == "    Traceback (most recent call last):"
    assert "    ValueError: first" in rest
    assert all(line.startswith("    ") for line in rest)


def test_a_traceback_is_a_field_in_json(stream: io.StringIO) -> None:
    logs.configure("info", "json", stream)
    logs.event(logging.ERROR, "task_failed", exception=failure())
    assert "ValueError: first\n" in json.loads(one_line(stream))["exception"]


def test_below_the_level_nothing_is_written(stream: io.StringIO) -> None:
    logs.configure("warning", "text", stream)
    logs.event(logging.INFO, "published", topic="orders")
    assert stream.getvalue() == ""
    logs.event(logging.WARNING, "slow")
    assert one_line(stream).endswith("WARNING slow")


def test_setting_up_again_replaces_the_first(stream: io.StringIO) -> None:
    logs.configure("info", "text", io.StringIO())
    logs.configure("debug", "text", stream)
    logs.event(logging.DEBUG, "started")
    assert one_line(stream).endswith("DEBUG started")


def test_the_lines_of_libraries_have_the_same_form(stream: io.StringIO) -> None:
    logs.configure("info", "text", stream)
    logging.getLogger("engineio").warning("lost %s\nforged", "sid")
    assert one_line(stream).endswith(r'WARNING log logger=engineio text="lost sid\nforged"')


def test_an_observer_hears_warnings_and_errors_until_it_stops() -> None:
    heard: list[logs.Line] = []
    stop = logs.observe(heard.append)
    failed = failure()
    logs.event(logging.INFO, "published")
    logs.event(logging.ERROR, "task_failed", exception=failed, task="trim", event="x")
    logging.getLogger("engineio").warning("lost %s", "sid")
    stop()
    logs.event(logging.ERROR, "unheard")
    ours, theirs = heard
    assert (ours.level, ours.event, ours.exception) == ("error", "task_failed", failed)
    assert ours.fields == {"task": "trim", "event_": "x"}
    assert (theirs.event, theirs.fields) == ("log", {"logger": "engineio", "text": "lost sid"})


def test_an_observer_that_logs_or_fails_harms_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    calls: list[str] = []

    def hear(line: logs.Line) -> None:
        calls.append(line.event)
        logs.event(logging.ERROR, "observer_speaks")
        raise ValueError("from the observer")

    stop = logs.observe(hear)
    logs.event(logging.ERROR, "once")
    stop()
    assert calls == ["once"]
    assert "from the observer" in capsys.readouterr().err
