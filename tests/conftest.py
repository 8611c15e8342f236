"""What holds for every test.

In continuous integration a skipped test is a failure: nobody there reads the reason.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator

import pytest

from engines import chosen_engines
from postgresql import PostgreSQL

pytest_plugins = ["pytester"]

SKIPPED = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[SKIPPED] = []
    config.pluginmanager.register(SkipWatch(config.stash[SKIPPED]), "skip-watch")
    # A shell has what it starts in the background ignore Ctrl-C, and programs started here, which
    # tests interrupt, would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where servers have another database, what is about SQLite is left out: not skipped."""
    if os.environ.get("TEST_DATABASE", "sqlite") != "sqlite":
        config.hook.pytest_deselected(items=[item for item in items if is_about_sqlite(item)])
        items[:] = [item for item in items if not is_about_sqlite(item)]


def is_about_sqlite(item: pytest.Item) -> bool:
    marker = item.get_closest_marker("sqlite")
    if marker is not None and not marker.kwargs.get("reason"):
        raise pytest.UsageError(f"{item.nodeid}: its marker sqlite has no reason")
    return marker is not None


class SkipWatch:
    """Collects what was skipped, whether a test or a whole file."""

    def __init__(self, skipped: list[str]) -> None:
        self._skipped = skipped

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped and not hasattr(report, "wasxfail"):
            self._skipped.append(report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:
            self._skipped.append(report.nodeid)


def in_continuous_integration() -> bool:
    return os.environ.get("CI", "").lower() not in ("", "0", "false")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if in_continuous_integration() and session.config.stash[SKIPPED] and exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    skipped = config.stash[SKIPPED]
    if in_continuous_integration() and skipped:
        terminalreporter.section("skipped, which fails when CI is set")
        for nodeid in skipped:
            terminalreporter.line(nodeid)


@pytest.fixture(scope="session", autouse=True)
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with chosen_engines(tmp_path_factory.getbasetemp()):
        yield


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """A PostgreSQL server for all tests that ask for one."""
    server = PostgreSQL()
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """A test that sets up the log leaves no handler behind that writes to its closed stream."""
    root, ours = logging.getLogger(), logging.getLogger("pubsub")
    handlers, level = list(root.handlers), ours.level
    yield
    for handler in [each for each in root.handlers if each not in handlers]:
        # pytest's own handlers come and go with the phases of a test.
        if type(handler).__module__.startswith("python_pubsub_server"):
            root.removeHandler(handler)
    ours.setLevel(level)
