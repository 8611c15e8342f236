"""That the garbage collector leaves alone what stays for a server's whole life."""

from __future__ import annotations

import gc

from python_pubsub_server.pubsub_ws import spare_collections


class Kept:
    """What the collector knows."""


def test_what_is_there_at_the_start_is_not_looked_through_again() -> None:
    kept = [Kept()]
    spare_collections()
    try:
        known = gc.get_objects()
        assert not any(each is kept for each in known)
        assert gc.get_freeze_count() > len(known)
        later = [Kept()]
        assert any(each is later for each in gc.get_objects())
    finally:
        gc.unfreeze()
