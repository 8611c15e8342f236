from __future__ import annotations

import pytest

from python_pubsub_server.channels import event_of


@pytest.mark.parametrize(
    ("topic", "event"),
    [
        ("notifications:42", "notification"),
        ("notifications:ann:phone", "notification"),
        ("notifications", "message"),
        ("suggestions:votes", "suggestion:vote"),
        ("suggestions:votes:1", "message"),
        ("resource:updates:7", "resource:update"),
        ("resource:update:7", "message"),
        ("orders", "message"),
        ("chat:general", "message"),
    ],
)
def test_a_topic_has_its_event(topic: str, event: str) -> None:
    assert event_of(topic) == event
