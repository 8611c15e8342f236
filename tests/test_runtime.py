from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from loops import BACKENDS, PATIENCE, run_on_loop, run_program, until
from python_pubsub_server.errors import ConfigurationError, ListenError
from python_pubsub_server.runtime import Runtime, open_runtime

Story = Callable[[Runtime], Any]
Live = Callable[[Story], Any]


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def live(backend: str) -> Live:
    return lambda story: run_on_loop(backend, story)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="eventlet or gevent"):
        open_runtime("asyncio")


def test_opening_warns_nobody_and_patches_nothing(backend: str) -> None:
    code = f"""
        import warnings; warnings.simplefilter("error")
        import socket, threading, time
        before = socket.socket, threading.Thread, time.sleep
        from python_pubsub_server.runtime import open_runtime
        open_runtime({backend!r}).close()
        assert before == (socket.socket, threading.Thread, time.sleep)
    """
    run_program(code)


# Tasks, timers, events


def test_tasks_run_beside_each_other(live: Live) -> None:
    def story(runtime: Runtime) -> list[str]:
        said: list[str] = []
        asked, answered = runtime.event(), runtime.event()

        def ask() -> None:
            said.append("question")
            asked.set()
            answered.wait(PATIENCE)
            said.append("thanks")

        def answer() -> None:
            asked.wait(PATIENCE)
            said.append("answer")
            answered.set()

        tasks = [runtime.spawn(ask), runtime.spawn(answer)]
        assert all(task.wait(PATIENCE) for task in tasks)
        return said

    assert live(story) == ["question", "answer", "thanks"]


def test_waiting_for_a_task_has_a_bound(live: Live) -> None:
    def story(runtime: Runtime) -> tuple[bool, bool]:
        go = runtime.event()
        task = runtime.spawn(go.wait)
        early = task.wait(0.01)
        go.set()
        return early, task.wait(PATIENCE)

    assert live(story) == (False, True)


def test_a_killed_task_ends_where_it_waits(live: Live) -> None:
    def story(runtime: Runtime) -> list[str]:
        said = []

        def wait_for_ever() -> None:
            try:
                runtime.event().wait()
            finally:
                said.append("cleaned up")

        task = runtime.spawn(wait_for_ever)
        runtime.sleep(0)
        task.kill()
        said.append("killed")
        assert task.wait(PATIENCE)
        return said

    assert live(story) == ["killed", "cleaned up"]


def test_an_event_can_be_set_cleared_and_waited_for(live: Live) -> None:
    def story(runtime: Runtime) -> list[bool]:
        event = runtime.event()
        seen = [event.is_set(), event.wait(0.01)]
        event.set()
        event.set()
        seen += [event.is_set(), event.wait(0.01)]
        event.clear()
        return [*seen, event.is_set(), event.wait(0.01)]

    assert live(story) == [False, False, True, True, False, False]


def test_an_event_set_and_cleared_at_once_still_wakes_who_waited(live: Live) -> None:
    def story(runtime: Runtime) -> list[bool]:
        event = runtime.event()
        woken: list[bool] = []
        task = runtime.spawn(lambda: woken.append(event.wait(PATIENCE)))
        runtime.sleep(0)
        event.set()
        event.clear()
        assert task.wait(PATIENCE)
        return woken

    assert live(story) == [True]


def test_timers_fire_in_order_and_can_be_cancelled(live: Live) -> None:
    def story(runtime: Runtime) -> list[str]:
        fired: list[str] = []
        last = runtime.event()
        runtime.after(0.03, fired.append, "second")
        runtime.after(0.01, fired.append, "first")
        cancelled = runtime.after(0.02, fired.append, "never")
        runtime.after(0.05, last.set)
        cancelled.cancel()
        assert last.wait(PATIENCE)
        cancelled.cancel()
        return fired

    assert live(story) == ["first", "second"]


def test_uncaught_errors_are_logged_and_harm_nothing_else(
    live: Live, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(where: str) -> None:
        raise ValueError(f"in {where}")

    def story(runtime: Runtime) -> None:
        ours, theirs = socket.socketpair()
        theirs.send(b"x")
        watch = None

        def read() -> None:
            ours.recv(1)
            fail("watch")

        watch = runtime.watch_readable(ours.fileno(), read)
        runtime.after(0, fail, "timer")
        runtime.call_from_thread(fail, "call")
        runtime.spawn(fail, "task").wait(PATIENCE)
        later = runtime.event()
        runtime.after(0.02, later.set)
        assert later.wait(PATIENCE)
        watch.close()
        ours.close()
        theirs.close()

    with caplog.at_level(logging.ERROR, "pubsub"):
        live(story)
    said = sorted(str(record.exc_info[1]) for record in caplog.records if record.exc_info)
    assert said == ["in call", "in task", "in timer", "in watch"]
    assert capfd.readouterr().err == ""


# Watches


def test_a_watch_calls_as_long_as_there_is_something_to_read(live: Live) -> None:
    def story(runtime: Runtime) -> bytes:
        ours, theirs = socket.socketpair()
        got: list[bytes] = []
        ended = runtime.event()

        def read() -> None:
            piece = ours.recv(1)
            got.append(piece)
            if not piece:
                watch.close()
                watch.close()
                ended.set()

        watch = runtime.watch_readable(ours.fileno(), read)
        theirs.send(b"ab")
        until(runtime, lambda: got == [b"a", b"b"])
        theirs.send(b"c")
        theirs.close()
        assert ended.wait(PATIENCE)
        ours.close()
        return b"".join(got)

    assert live(story) == b"abc"


def test_one_descriptor_can_be_watched_both_ways(live: Live) -> None:
    def story(runtime: Runtime) -> list[str]:
        ours, theirs = socket.socketpair()
        seen: list[str] = []
        written, read = runtime.event(), runtime.event()

        def write() -> None:
            seen.append("writable")
            writing.close()
            written.set()

        def take() -> None:
            seen.append(ours.recv(10).decode())
            read.set()

        reading = runtime.watch_readable(ours.fileno(), take)
        writing = runtime.watch_writable(ours.fileno(), write)
        assert written.wait(PATIENCE)
        theirs.send(b"hello")
        assert read.wait(PATIENCE)
        reading.close()
        again = runtime.watch_readable(ours.fileno(), take)
        again.close()
        ours.close()
        theirs.close()
        return seen

    assert live(story) == ["writable", "hello"]


def test_a_watch_closed_in_the_same_turn_is_not_called(live: Live) -> None:
    def story(runtime: Runtime) -> int:
        pairs = [socket.socketpair() for _ in range(2)]
        calls = []
        watches: list[Any] = []

        def close_all() -> None:
            calls.append(1)
            for watch in watches:
                watch.close()

        for ours, theirs in pairs:
            theirs.send(b"x")
            watches.append(runtime.watch_readable(ours.fileno(), close_all))
        until(runtime, lambda: calls)
        runtime.sleep(0)  # both were ready in the same turn
        for pair in pairs:
            for end in pair:
                end.close()
        return len(calls)

    assert live(story) == 1


# Native threads


def test_native_work_stops_only_the_task_that_waits_for_it(live: Live) -> None:
    def story(runtime: Runtime) -> tuple[int, bool]:
        threads = runtime.native_threads(1, "test")
        began, release = runtime.event(), threading.Event()
        results: list[int] = []

        def work(number: int) -> int:
            runtime.call_from_thread(began.set)
            assert release.wait(PATIENCE)
            return number * 2

        task = runtime.spawn(lambda: results.append(threads.run(work, 21)))
        assert began.wait(PATIENCE)
        release.set()  # only a loop that still turns gets here
        assert task.wait(PATIENCE)
        return results[0], threads.close(PATIENCE)

    assert live(story) == (42, True)


def test_native_work_raises_where_it_is_waited_for(live: Live) -> None:
    def story(runtime: Runtime) -> None:
        threads = runtime.native_threads(2, "test")
        with pytest.raises(ZeroDivisionError):
            threads.run(lambda: 1 // 0)
        assert threads.run(lambda: "still there") == "still there"
        threads.close(PATIENCE)
        with pytest.raises(RuntimeError):
            threads.run(int)

    live(story)


def test_native_work_can_take_too_long(live: Live) -> None:
    def story(runtime: Runtime) -> None:
        threads = runtime.native_threads(1, "test")
        release = threading.Event()
        with pytest.raises(TimeoutError):
            threads.run(release.wait, timeout=0.01)
        assert not threads.close(0.01)
        release.set()
        assert threads.close(PATIENCE)

    live(story)


def test_one_thread_keeps_the_order_and_close_finishes_what_is_queued(live: Live) -> None:
    def story(runtime: Runtime) -> list[int]:
        threads = runtime.native_threads(1, "test")
        done: list[int] = []
        on_loop = threading.current_thread()

        def then(result: int, error: BaseException | None) -> None:
            assert error is None and threading.current_thread() is on_loop
            done.append(result)

        for number in range(100):
            threads.submit(lambda number=number: number, then=then)
        assert threads.close(PATIENCE)
        return done

    assert live(story) == list(range(100))


def test_many_threads_call_the_loop_and_no_call_is_lost(live: Live) -> None:
    def story(runtime: Runtime) -> int:
        got: list[tuple[int, int]] = []
        every = runtime.event()

        def take(thread: int, number: int) -> None:
            got.append((thread, number))
            if len(got) == 4000:
                every.set()

        def call(thread: int) -> None:
            for number in range(1000):
                runtime.call_from_thread(take, thread, number)

        threads = [threading.Thread(target=call, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        assert every.wait(PATIENCE)
        for thread in threads:
            thread.join()
        for thread_number in range(4):
            own = [number for thread, number in got if thread == thread_number]
            assert own == list(range(1000))
        return len(got)

    assert live(story) == 4000


def test_calls_that_call_again_leave_turns_to_others(live: Live) -> None:
    def story(runtime: Runtime) -> bool:
        stop = []

        def again() -> None:
            if not stop:
                runtime.call_from_thread(again)

        again()
        runtime.sleep(0.02)  # returns only if the calls let it
        stop.append(True)
        return True

    assert live(story)


def test_a_signal_wakes_an_idle_loop(backend: str) -> None:
    code = f"""
        import signal
        from python_pubsub_server.runtime import open_runtime
        runtime = open_runtime({backend!r})
        woken = runtime.event()
        signal.signal(signal.SIGTERM, lambda *_: runtime.call_from_thread(woken.set))
        print("idle", flush=True)
        assert woken.wait(60)
        print("woken", flush=True)
        runtime.close()
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=os.environ | {"PYTHONPATH": "src"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "idle\n"
    while psutil.Process(process.pid).status() != psutil.STATUS_SLEEPING:
        pass
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=PATIENCE)
    assert (out, err, process.returncode) == ("woken\n", "", 0)


# Listening


@pytest.mark.parametrize(("host", "family"), [("127.0.0.1", "127.0.0.1"), ("::1", "::1")])
def test_listen_on_a_free_port(live: Live, host: str, family: str) -> None:
    if host == "::1" and not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")

    def story(runtime: Runtime) -> None:
        listener = runtime.listen(host, 0)
        assert listener.getsockname()[0] == family
        socket.create_connection(listener.getsockname()[:2]).close()
        listener.close()

    live(story)


@pytest.mark.parametrize(
    ("host", "port", "reason"),
    [
        ("127.0.0.1", None, "port is in use"),
        ("203.0.113.1", 0, "no such address"),
        ("no such host", 0, "no such address"),
        ("127.0.0.1", 70000, "0 to 65535"),
    ],
)
def test_listen_says_in_one_line_why_not(
    live: Live, host: str, port: int | None, reason: str
) -> None:
    def story(runtime: Runtime) -> None:
        with (
            socket.create_server(("127.0.0.1", 0)) as other,
            pytest.raises(ListenError) as caught,
        ):
            runtime.listen(host, other.getsockname()[1] if port is None else port)
        assert reason in str(caught.value)
        assert "\n" not in str(caught.value)

    live(story)
