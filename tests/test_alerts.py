"""What is wrong, when it begins and ends, and who tells it."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from python_pubsub_server.alerts import (
    CALM_SECONDS,
    Alert,
    AlertBook,
    OwnRules,
    Thresholds,
    Wrong,
)
from samples import sample

FINE = sample()


def rules(**thresholds: float) -> OwnRules:
    return OwnRules("n1", Thresholds(**thresholds))  # type: ignore[arg-type]


def kinds(found: list[Wrong]) -> list[str]:
    return [wrong.kind for wrong in found]


class TestOwnRules:
    def test_nothing_is_wrong_with_a_calm_node(self) -> None:
        assert rules().look(FINE, None, None, 0.0) == []

    def test_what_does_not_work_is_wrong_with_its_reason(self) -> None:
        found = rules().look(FINE, "disk I/O error", "Connection refused", 0.0)
        assert [(w.kind, w.text, w.node, w.alert_id) for w in found] == [
            ("database_down", "disk I/O error", "n1", "database_down:n1"),
            ("bus_down", "Connection refused", "n1", "bus_down:n1"),
        ]

    @pytest.mark.parametrize(
        ("free", "is_low"), [(5.0, False), (4.99, True), (0.0, True), (None, False)]
    )
    def test_a_disk_is_low_below_its_threshold(self, free: float | None, is_low: bool) -> None:
        found = rules().look(replace(FINE, disk_free_percent=free), None, None, 0.0)
        assert kinds(found) == (["disk_low"] if is_low else [])

    def test_a_late_loop_is_wrong_until_it_was_in_time_for_a_while(self) -> None:
        own = rules(loop_lag_ms=250.0)
        assert own.look(replace(FINE, loop_lag_ms=250.0), None, None, 0.0) == []
        (first,) = own.look(replace(FINE, loop_lag_ms=251.0), None, None, 1.0)
        (worse,) = own.look(replace(FINE, loop_lag_ms=900.0), None, None, 2.0)
        (calmer,) = own.look(FINE, None, None, 2.0 + CALM_SECONDS - 0.1)
        assert (first.text, worse.text, calmer.text) == (
            "the event loop was 251 ms late",
            "the event loop was 900 ms late",
            "the event loop was 900 ms late",
        )
        assert own.look(FINE, None, None, 2.0 + CALM_SECONDS) == []
        assert len(own.look(replace(FINE, loop_lag_ms=300.0), None, None, 9.0)) == 1


def wrong(subject: str = "n1", node: str | None = "n1") -> Wrong:
    return Wrong("disk_low", subject, "2 % of the disk are free", node)


def told(reported_by: str, state: str = "begin", subject: str = "n2") -> Alert:
    return Alert(reported_by, f"disk_low:{subject}", "disk_low", state, subject, subject, "", 1.0)


class TestAlertBook:
    def test_each_alert_begins_once_and_ends_once(self) -> None:
        book = AlertBook("n1")
        (begin,) = book.settle([wrong()], lambda alert: True, 10.0)
        assert (begin.id, begin.state, begin.since, begin.until) == (
            "disk_low:n1",
            "begin",
            10.0,
            None,
        )
        assert book.settle([wrong()], lambda alert: True, 11.0) == []
        assert list(book.active.values()) == [begin]
        (end,) = book.settle([], lambda alert: True, 12.0)
        assert end == replace(begin, state="end", until=12.0)
        assert (book.active, list(book.ended)) == ({}, [end])
        assert book.settle([], lambda alert: True, 13.0) == []

    def test_what_is_not_ours_stays_as_it_is(self) -> None:
        book = AlertBook("n1")
        book.hear(told("n2"))
        assert book.settle([wrong()], lambda alert: alert.node == "n1", 10.0)[0].node == "n1"
        assert set(book.active) == {"disk_low:n1", "disk_low:n2"}
        assert [alert.node for alert in book.own()] == ["n1"]

    def test_what_a_lost_node_told_is_ended_by_who_looks_after_it(self) -> None:
        book = AlertBook("n1")
        book.hear(told("n2"))
        (end,) = book.settle([], lambda alert: True, 10.0)
        assert (end.state, end.reported_by, end.node) == ("end", "n1", "n2")

    def test_what_still_holds_is_taken_over_without_a_word(self) -> None:
        book = AlertBook("n1")
        book.hear(told("n2"))
        assert book.settle([wrong("n2", "n2")], lambda alert: True, 10.0) == []
        assert [alert.since for alert in book.own()] == [1.0]

    def test_others_alerts_begin_and_end_as_they_tell(self) -> None:
        book = AlertBook("n1")
        book.hear(told("n2"))
        book.hear(told("n1", subject="n1"))  # its own words, come back by the bus
        assert list(book.active) == ["disk_low:n2"]
        book.hear(told("n2", "end"))
        book.hear(told("n2", "end"))
        assert (book.active, len(book.ended)) == ({}, 1)

    def test_what_was_missed_is_made_good_by_what_a_node_repeats(self) -> None:
        book = AlertBook("n1")
        book.hear(told("n2", subject="over"))
        book.hear(told("n3", subject="others"))
        book.correct("n2", [told("n2", subject="missed")])
        assert set(book.active) == {"disk_low:missed", "disk_low:others"}
        assert not book.ended

    def test_it_is_bounded(self) -> None:
        book = AlertBook("n1")
        assert len(book.settle([wrong(str(n)) for n in range(2_000)], lambda _: True, 1.0)) == 1_000
        for number in range(2_000):
            book.hear(told("n2", subject=f"x{number}"))
        assert len(book.active) == 1_000
        book.settle([], lambda _: True, 2.0)
        assert len(book.ended) == 100
