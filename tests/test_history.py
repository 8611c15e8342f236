from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from loops import PATIENCE, tell_story
from python_pubsub_server.broker import Announcer
from python_pubsub_server.clock import LogClock
from python_pubsub_server.deliveries import Deliveries
from python_pubsub_server.errors import NotFound
from python_pubsub_server.feed import Feed
from python_pubsub_server.history import History, HistoryPage
from python_pubsub_server.hub import Hub
from python_pubsub_server.identity import Identity
from python_pubsub_server.journal import Journal
from python_pubsub_server.rates import Rates
from python_pubsub_server.runtime import Runtime, Task
from python_pubsub_server.storage.database import Reader, Retention, open_database
from python_pubsub_server.storage.readers import Readers
from python_pubsub_server.wire import encode
from stories import draft

T = TypeVar("T")

ANN = Identity("127.0.0.1")
LONG = 60.0  # more than a test may last: who waits so long is not answered by its timeout


class WatchedReaders(Readers):
    """Real readers, with a bell that rings after each read, and something to do then."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.after: Callable[[], None] = lambda: None

    def read(self, query: Callable[[Reader], T]) -> T:
        result = super().read(query)
        self.after()
        return result


class Story:
    """The history of a log on a loop and a file."""

    def __init__(self, runtime: Runtime, path: Path) -> None:
        self.runtime = runtime
        self.hub = Hub()
        clock = LogClock()
        database = open_database(f"sqlite:///{path}/log.db", durability="normal")
        self.epoch = database.epoch
        self.readers = WatchedReaders(database, runtime)
        self.feed = Feed(self.hub, self.readers, runtime, 0)
        announcer = Announcer(self.feed, Rates())
        deliveries = Deliveries("node", clock, lambda: self.feed.delivered)
        self.journal = Journal(database.writer(), runtime, clock, announcer, deliveries.here)
        deliveries.write_to(self.journal)
        self.history = History(self.readers, self.hub, runtime, deliveries, self.epoch)
        self.count = 0

    def publish(self, count: int = 1, topic: str = "news", size: int = 0) -> None:
        first, self.count = self.count, self.count + count
        drafts = [draft(topic, f"m{n}", "x" * size) for n in range(first, self.count)]
        self.journal.write(drafts=drafts)

    def page(self, after: int = 0, limit: int = 100, wait: float = 0.0) -> HistoryPage:
        return self.history.page(ANN, "news", after, limit, wait)

    def wait_for(self, after: int) -> tuple[Task, list[HistoryPage]]:
        """A task that waits for what comes, once it does, and what it will have got."""
        is_waiting = self.runtime.event()
        self.readers.after = is_waiting.set
        got: list[HistoryPage] = []
        task = self.runtime.spawn(lambda: got.append(self.page(after, wait=LONG)))
        assert is_waiting.wait(PATIENCE)
        self.readers.after = lambda: None
        return task, got

    def close(self) -> None:
        self.journal.close(PATIENCE)
        self.feed.close(PATIENCE)
        self.readers.close(PATIENCE)


def numbers(page: HistoryPage) -> list[int]:
    return [message.sequence for message in page.messages]


Tell = Callable[[Callable[[Story], Any]], Any]


@pytest.fixture
def tell(tmp_path: Path) -> Tell:
    return lambda tale: tell_story(lambda runtime: Story(runtime, tmp_path), tale)


def test_a_page_says_where_the_topic_stands(tell: Tell) -> None:
    def tale(story: Story) -> None:
        story.publish(5)
        while story.journal.upkeep(lambda writer: writer.trim(Retention(4, None), 0.0, 9)):
            pass
        page = json.loads(encode(story.page(after=2, limit=2)))
        messages = page.pop("messages")
        assert page == {"epoch": story.epoch, "sequence": 5, "first": 2}
        assert [message["sequence"] for message in messages] == [3, 4]
        assert numbers(story.page()) == [2, 3, 4, 5]
        assert numbers(story.page(after=5)) == numbers(story.page(after=99)) == []

    tell(tale)


def test_a_topic_that_does_not_exist_is_empty(tell: Tell) -> None:
    def tale(story: Story) -> None:
        page = story.page()
        assert (numbers(page), page.sequence, page.first) == ([], 0, 1)

    tell(tale)


def test_who_waits_gets_at_once_what_is_there(tell: Tell) -> None:
    def tale(story: Story) -> None:
        story.publish(2)
        assert numbers(story.page(after=1, wait=LONG)) == [2]

    tell(tale)


def test_who_waits_is_woken_by_the_next_message(tell: Tell) -> None:
    def tale(story: Story) -> None:
        for topic in ("other", "news"):
            story.publish(topic=topic)
        task, got = story.wait_for(after=1)
        story.publish(topic="other")
        assert not task.wait(0)
        story.publish(2)
        assert task.wait(PATIENCE)
        assert [numbers(page) for page in got] == [[2, 3]]
        assert story.hub._bells == {}

    tell(tale)


def test_many_may_wait_for_one_message(tell: Tell) -> None:
    def tale(story: Story) -> None:
        waiting = [story.wait_for(after=0) for _ in range(20)]
        story.publish()
        for task, got in waiting:
            assert task.wait(PATIENCE)
            assert [numbers(page) for page in got] == [[1]]

    tell(tale)


def test_what_comes_between_the_look_and_the_wait_is_not_missed(tell: Tell) -> None:
    def tale(story: Story) -> None:
        published: list[int] = []

        def publish() -> None:
            if not published:
                published.append(1)
                story.publish()

        story.readers.after = publish
        assert numbers(story.page(wait=LONG)) == [1]

    tell(tale)


def test_who_waits_for_what_does_not_come_is_answered_in_time(tell: Tell) -> None:
    def tale(story: Story) -> None:
        story.publish()
        page = story.page(after=1, wait=0.01)
        assert (numbers(page), page.sequence) == ([], 1)
        assert story.hub._bells == {}

    tell(tale)


def test_nobody_waits_for_a_sequence_that_this_log_never_gave(tell: Tell) -> None:
    def tale(story: Story) -> None:
        story.publish()
        page = story.page(after=7, wait=LONG)
        assert (numbers(page), page.sequence) == ([], 1)

    tell(tale)


def test_nobody_is_left_waiting_when_the_server_stops(tell: Tell) -> None:
    def tale(story: Story) -> None:
        task, got = story.wait_for(after=0)
        story.hub.ring()
        assert task.wait(PATIENCE)
        assert [numbers(page) for page in got] == [[]]

    tell(tale)


def test_a_message_has_a_ledger_and_an_explanation(tell: Tell) -> None:
    def tale(story: Story) -> None:
        story.publish()
        ledger = story.history.ledger(ANN, "news", 1)
        assert (ledger.message.sequence, ledger.consumers, ledger.pending) == (1, [], [])
        for topic, sequence in (("news", 0), ("news", 2), ("never", 1)):
            with pytest.raises(NotFound, match=f"{topic}.*{sequence}"):
                story.history.ledger(ANN, topic, sequence)
        assert story.history.explain(ANN, "news", 1, "carl").verdict == "not_subscribed"
        assert story.history.explain(ANN, "news", 2, "carl").verdict == "unknown"

    tell(tale)
