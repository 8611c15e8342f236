from __future__ import annotations

import pytest
from msgspec import Raw

from python_pubsub_server import activity
from python_pubsub_server.activity import Activity
from python_pubsub_server.model import Message

NOW = 1_800_000_000.0  # the beginning of a minute, and of ten


def messages(topic: str, number: int = 1) -> list[Message]:
    return [Message(topic, "id", Raw(b"1"), "p", NOW, each + 1) for each in range(number)]


def counts(report: activity.ActivityReport) -> dict[str, list[int]]:
    return {each.topic: list(each.counts) for each in report.topics}


def test_messages_are_counted_in_the_second_in_which_they_came() -> None:
    story = Activity()
    story.count(messages("a", 2) + messages("b"), NOW + 0.2)
    story.count(messages("a"), NOW + 0.9)
    story.count(messages("a"), NOW + 5)
    report = story.report("minute", NOW + 5.5, 10)
    assert (report.start, report.step) == (NOW - 54, 1)
    assert counts(report)["a"] == [0] * 54 + [3, 0, 0, 0, 0, 1]
    assert counts(report)["b"] == [0] * 54 + [1, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("window", "step", "slots"), [("minute", 1, 60), ("hour", 60, 60), ("day", 600, 144)]
)
def test_a_window_forgets_what_is_older_than_itself(window: str, step: int, slots: int) -> None:
    story = Activity()
    story.count(messages("old"), NOW)
    story.count(messages("kept"), NOW + step)
    report = story.report(window, NOW + step * slots, 10)
    assert (report.step, report.start) == (step, NOW + step)
    assert counts(report) == {"kept": [1] + [0] * (slots - 1)}
    story.count(messages("new"), NOW + step * slots)
    assert list(counts(story.report(window, NOW + step * slots, 10))) == ["kept", "new"]


def test_the_busiest_topics_are_listed_and_the_others_are_summed_up() -> None:
    story = Activity()
    story.count([*messages("a"), *messages("b", 3), *messages("c", 2)], NOW)
    report = story.report("hour", NOW, 1)
    assert [each.topic for each in report.topics] == ["b"]
    assert report.others[-1] == 3
    assert sum(report.others) == 3


def test_too_many_topics_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activity, "MAX_TOPICS", 2)
    story = Activity()
    story.count([*messages("a"), *messages("b"), *messages("c"), *messages("a")], NOW)
    report = story.report("minute", NOW, 100)
    assert {topic: numbers[-1] for topic, numbers in counts(report).items()} == {"a": 2, "b": 1}
    assert report.others[-1] == 1


def test_nothing_was_published() -> None:
    story = Activity()
    story.count([], NOW)
    report = story.report("minute", NOW, 100)
    assert (list(report.topics), list(report.others)) == ([], [0] * 60)
