"""`pubsub-server serve --workers N`: several nodes on one port of one machine.

The system shares new connections out among all that listen on a port with SO_REUSEPORT. The parent
serves nobody: it starts the nodes, starts one again that ended, and stops them all.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable

import msgspec

from . import logs
from .config import Settings
from .errors import ConfigurationError, StartError
from .runtime.sockets import bind

SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}
FIRST_PAUSE = 1.0  # before a worker that ended is started again; doubled each time
LONGEST_PAUSE = 30.0
STEADY_SECONDS = 60.0  # who ran that long begins with the first pause again
STOP_SECONDS = 15.0  # beside the time to drain
PR_SET_PDEATHSIG = 1  # prctl(2)

Run = Callable[[Settings, int], int]  # the life of a worker, by its number; its exit code


class Worker(msgspec.Struct):
    """One place for a process: the one that runs there, or when the next is to start."""

    number: int
    pid: int = 0
    started_at: float = 0.0
    start_at: float = 0.0
    pause: float = FIRST_PAUSE


def serve(settings: Settings, count: int, run: Run) -> int:
    """Keep so many processes in `run` until SIGTERM or SIGINT; the exit code. Raises StartError."""
    if settings.redis_url is None:
        raise ConfigurationError(
            "--workers needs PUBSUB_REDIS_URL: the processes hear of each other over Redis"
        )
    if not hasattr(socket, "SO_REUSEPORT"):
        raise ConfigurationError("--workers: this system has no SO_REUSEPORT")
    logs.configure(settings.log_level, settings.log_format)
    # Never listened on: it keeps the port, whichever it is, while no worker has it.
    keeper = bind(settings.host, settings.port, is_shared=True)
    settings = msgspec.structs.replace(settings, port=keeper.getsockname()[1])
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        return Workers(settings, count, run).supervise()
    finally:
        keeper.close()


class Workers:
    """The processes of one parent."""

    def __init__(self, settings: Settings, count: int, run: Run) -> None:
        self._settings = settings
        self._run = run
        self._workers = [Worker(number) for number in range(1, count + 1)]
        self._is_steady = False

    def supervise(self) -> int:
        code = 0
        while not code:
            now = time.monotonic()
            for worker in self._workers:
                if not worker.pid and worker.start_at <= now:
                    self._start(worker, now)
            found = signal.sigtimedwait(SIGNALS, 1.0)
            if found is not None and found.si_signo != signal.SIGCHLD:
                break
            code = self._reap(restart=True)
        return self._stop() or code

    def _start(self, worker: Worker, now: float) -> None:
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            os._exit(self._work(parent, worker.number))
        worker.pid, worker.started_at = pid, now
        logs.event(logging.INFO, "worker_started", worker=worker.number, pid=pid)

    def _work(self, parent: int, number: int) -> int:
        """The whole life of a worker; its exit code."""
        code = 1
        try:
            if sys.platform == "linux":  # a parent that is killed leaves no workers behind
                ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            if os.getppid() == parent:
                code = self._run(self._settings, number)
        except StartError as error:
            logs.event(logging.ERROR, "worker_cannot_start", reason=str(error))
        except Exception as error:  # noqa: BLE001 - told; the parent starts another one
            logs.event(logging.ERROR, "worker_failed", exception=error)
        sys.stderr.flush()
        return code

    def _reap(self, *, restart: bool) -> int:
        """Note which workers ended. Not 0: they cannot start, so neither can this server."""
        now = time.monotonic()
        for worker in self._workers:
            if not worker.pid:
                continue
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
            if not pid:
                self._is_steady |= now - worker.started_at > STOP_SECONDS
                continue
            code = os.waitstatus_to_exitcode(status)
            level = logging.WARNING if restart else logging.INFO
            logs.event(level, "worker_ended", worker=worker.number, pid=pid, code=code)
            worker.pid = 0
            if code == 1 and not self._is_steady and restart:
                return 1
            if now - worker.started_at > STEADY_SECONDS:
                worker.pause = FIRST_PAUSE
            worker.start_at = now + worker.pause
            worker.pause = min(worker.pause * 2, LONGEST_PAUSE)
        return 0

    def _stop(self) -> int:
        """Have all of them drain and end; 0 unless one had to be killed."""
        give_up_at = time.monotonic() + 4 * self._settings.drain_seconds + STOP_SECONDS
        self._signal(signal.SIGTERM)
        while any(worker.pid for worker in self._workers):
            signal.sigtimedwait({signal.SIGCHLD}, 0.2)
            self._reap(restart=False)
            if time.monotonic() > give_up_at:
                self._signal(signal.SIGKILL)
                return 1
        return 0

    def _signal(self, number: signal.Signals) -> None:
        for worker in self._workers:
            if worker.pid:
                os.kill(worker.pid, number)
