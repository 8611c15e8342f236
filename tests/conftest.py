"""In continuous integration a skipped test is a failure: nobody there reads the reason."""

from __future__ import annotations

import os

import pytest

pytest_plugins = ["pytester"]

SKIPPED = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[SKIPPED] = []
    config.pluginmanager.register(SkipWatch(config.stash[SKIPPED]), "skip-watch")


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
