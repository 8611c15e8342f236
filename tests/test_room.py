from __future__ import annotations

import pytest

from python_pubsub_server.transport.room import has_room


@pytest.mark.parametrize(
    ("unsent", "size", "is_there"),
    [
        (0, 0, True),
        (0, 5_000, True),
        (1, 499, True),
        (1, 500, False),
        (250, 250, True),
        (250, 251, False),
        (251, 0, False),
    ],
)
def test_a_replay_leaves_half_of_the_budget_to_what_is_live(
    unsent: int, size: int, is_there: bool
) -> None:
    assert has_room(unsent, size, 1_000) is is_there
