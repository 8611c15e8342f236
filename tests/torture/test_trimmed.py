"""Retention takes messages away in the middle of a replay: it is said, never skipped over."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import pytest

from loops import run_on_loop
from python_pubsub_server import replaying
from python_pubsub_server.errors import Unavailable
from python_pubsub_server.runtime import Runtime

from .world import Recorder, World, draft, wanting


@pytest.mark.parametrize("keep", [1, 5, None])
def test_what_is_trimmed_during_a_replay_is_not_skipped_silently(
    tmp_path: Path, keep: int | None
) -> None:
    def story(runtime: Runtime) -> bool:
        world = World(runtime, tmp_path)
        world.publish(*(draft("t", f"m{n}") for n in range(30)))
        calls = 0

        def trim_at_the_third_page() -> None:
            nonlocal calls
            calls += 1
            if calls == 3:
                world.clocks.advance(10.0)
                if keep is None:
                    world.trim(seconds=5.0)
                else:
                    world.trim(messages=keep)

        slow = Recorder("slow", trim_at_the_third_page)
        with patch.object(replaying, "PAGE", 3), pytest.raises(Unavailable, match="trimmed"):
            world.subscribe(slow, wanting("ann", "t", after=0))
        assert slow.closed is not None
        last = slow.sequences("t")[-1]
        assert slow.sequences("t") == list(range(1, last + 1))
        world.disconnect(slow)
        again = Recorder("again")
        answer = world.subscribe(again, wanting("ann", "t", after=last))
        assert answer.topics[0].recovered is False
        assert again.sequences("t") == world.sequences("t")
        world.node.close()
        return True

    assert run_on_loop("eventlet", story)
