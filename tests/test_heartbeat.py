from __future__ import annotations

from typing import Any

import pytest

from loops import BACKENDS, PATIENCE, run_on_loop
from python_pubsub_server.runtime import Runtime
from python_pubsub_server.transport.heartbeat import Heartbeat


class Patient:
    def __init__(self) -> None:
        self.seen: list[str] = []

    def ping(self) -> None:
        self.seen.append("ping")

    def expire(self) -> None:
        self.seen.append("expired")


class NoTimers:
    """The loop of tests that turn the wheel by hand."""

    def after(self, seconds: float, function: Any) -> NoTimers:
        return self

    def cancel(self) -> None:
        pass


class Ward:
    def __init__(self) -> None:
        self.now = 1000.0
        self.heartbeat = Heartbeat(NoTimers(), 25, 20, clock=lambda: self.now)  # type: ignore[arg-type]

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.heartbeat.tick()


def test_who_answers_is_pinged_again_and_again() -> None:
    ward, patient = Ward(), Patient()
    ward.heartbeat.watch(patient)
    for _ in range(3):
        ward.pass_time(24)
        before = len(patient.seen)
        ward.pass_time(1)
        assert len(patient.seen) == before + 1
        ward.pass_time(19)
        ward.heartbeat.heard(patient)
    assert patient.seen == ["ping"] * 3


def test_who_does_not_answer_expires_once() -> None:
    ward, patient = Ward(), Patient()
    ward.heartbeat.watch(patient)
    ward.pass_time(25)
    ward.pass_time(19.9)
    assert patient.seen == ["ping"]
    ward.pass_time(0.1)
    ward.pass_time(100)
    assert patient.seen == ["ping", "expired"]


def test_an_answer_nobody_asked_for_puts_nothing_off() -> None:
    ward, patient = Ward(), Patient()
    ward.heartbeat.watch(patient)
    ward.pass_time(20)
    ward.heartbeat.heard(patient)
    ward.pass_time(5)
    assert patient.seen == ["ping"]


def test_one_who_fails_harms_no_other(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Patient):
        def ping(self) -> None:
            raise ValueError("a bug")

    ward, patient = Ward(), Patient()
    ward.heartbeat.watch(Broken())
    ward.heartbeat.watch(patient)
    ward.pass_time(25)
    assert patient.seen == ["ping"]
    assert "a bug" in caplog.text


def test_who_is_forgotten_is_left_alone() -> None:
    ward, early, late = Ward(), Patient(), Patient()
    ward.heartbeat.watch(early)
    ward.pass_time(25)
    ward.heartbeat.watch(late)
    ward.heartbeat.forget(early)
    ward.heartbeat.forget(late)
    ward.heartbeat.forget(late)
    ward.pass_time(100)
    assert (early.seen, late.seen) == (["ping"], [])


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_wheel_turns_by_itself_until_it_is_stopped(backend: str) -> None:
    def story(runtime: Runtime) -> None:
        expired = runtime.event()

        class Quiet(Patient):
            def expire(self) -> None:
                super().expire()
                expired.set()

        heartbeat = Heartbeat(runtime, 0.01, 0.01)
        patient = Quiet()
        heartbeat.watch(patient)
        assert expired.wait(PATIENCE)
        assert patient.seen == ["ping", "expired"]
        heartbeat.stop()
        heartbeat.watch(patient)
        runtime.sleep(0.03)  # three turns of the wheel, if it still turned
        assert patient.seen == ["ping", "expired"]

    run_on_loop(backend, story)
