"""The machine's clock is set back an hour: order, deduplication and retention stay right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from loops import run_on_loop
from python_pubsub_server.model import Claim
from python_pubsub_server.runtime import Runtime

from .world import Recorder, World, draft, wanting

HOUR = 3_600.0


def in_a_world(directory: Path, durability: str, tell: Callable[[World], None]) -> None:
    def story(runtime: Runtime) -> bool:
        world = World(runtime, directory, durability=durability, deduplication_seconds=120.0)
        tell(world)
        world.node.close()
        return True

    assert run_on_loop("eventlet", story)


def test_order_stays_right(tmp_path: Path, durability: str) -> None:
    def tell(world: World) -> None:
        ann = Recorder("ann")
        world.subscribe(ann, wanting("ann", "t"))
        published = world.publish(draft("t", "m1"))
        world.clocks.set_back(HOUR)
        published += world.publish(draft("t", "m2"))
        world.restart()
        bob = Recorder("bob")
        world.subscribe(bob, wanting("bob", "t", after=1))
        published += world.publish(draft("t", "m3"))
        assert [each.message.sequence for each in published] == [1, 2, 3]
        times = [each.message.timestamp for each in published]
        assert times == sorted(times)
        assert ann.sequences("t") == [1, 2]
        assert bob.sequences("t") == [2, 3]

    in_a_world(tmp_path, durability, tell)


def test_deduplication_neither_forgets_nor_lasts_an_hour(tmp_path: Path, durability: str) -> None:
    def tell(world: World) -> None:
        world.publish(draft("t", "m1"))
        world.clocks.set_back(HOUR)
        world.clocks.advance(119.0)
        assert world.publish(draft("t", "m1"))[0].duplicate
        world.restart()
        assert world.publish(draft("t", "m1"))[0].duplicate
        world.clocks.advance(121.0)
        assert not world.publish(draft("t", "m1"))[0].duplicate

    in_a_world(tmp_path, durability, tell)


def test_deduplication_stays_right_when_nothing_is_left(tmp_path: Path, durability: str) -> None:
    def tell(world: World) -> None:
        world.publish(draft("t", "m1"))
        assert world.trim(messages=0) == 1
        world.clocks.set_back(HOUR)
        world.restart()
        world.clocks.advance(119.0)
        assert world.publish(draft("t", "m1"))[0].duplicate
        world.clocks.advance(2.0)
        assert not world.publish(draft("t", "m1"))[0].duplicate

    in_a_world(tmp_path, durability, tell)


def test_retention_neither_stops_nor_takes_what_is_young(tmp_path: Path, durability: str) -> None:
    def tell(world: World) -> None:
        world.publish(draft("t", "old"))
        world.clocks.set_back(HOUR)
        world.clocks.advance(50.0)
        world.publish(draft("t", "young"))
        assert world.trim(seconds=60.0) == 0
        world.clocks.advance(20.0)
        assert world.trim(seconds=60.0) == 1
        assert world.sequences("t") == [2]
        world.restart()
        assert world.trim(seconds=60.0) == 0
        world.clocks.advance(61.0)
        assert world.trim(seconds=60.0) == 1
        assert world.publish(draft("t", "next"))[0].message.sequence == 3

    in_a_world(tmp_path, durability, tell)


def test_consumptions_and_what_is_owed_stay_right(tmp_path: Path, durability: str) -> None:
    def tell(world: World) -> None:
        first = Recorder("first")
        world.subscribe(first, wanting("ann", "t"))
        world.publish(draft("t", "m1"), draft("t", "m2"))
        world.clocks.set_back(HOUR)
        world.publish(draft("t", "m3"))
        assert world.claim(Claim("ann", "t", "m2", 2), Claim("ann", "t", "m2", 2)) == [1, 0]
        world.restart()
        second = Recorder("second")
        world.subscribe(second, wanting("ann", "t", after="consumed"))
        assert second.sequences("t") == [1, 3]

    in_a_world(tmp_path, durability, tell)
