from __future__ import annotations

import random

import pytest

from .amount import AMOUNT
from .tally import KEY, Tally


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    found = config.stash.get(KEY, None)
    if found is not None:
        terminalreporter.section("torture")
        for line in found.lines():
            terminalreporter.line(line)


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Tally:
    """What is counted here is told at the end of the run."""
    return request.config.stash.setdefault(KEY, Tally())


@pytest.fixture
def dice(request: pytest.FixtureRequest) -> random.Random:
    """Random moments; the seed is in the report of a test that fails."""
    seed = random.SystemRandom().randrange(2**32)
    request.node.add_report_section("call", "torture", f"TORTURE={AMOUNT}, dice={seed}")
    return random.Random(seed)


@pytest.fixture(params=["full", "normal"])
def durability(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["full", "normal"] if AMOUNT == "full" else ["full"])
def any_durability(request: pytest.FixtureRequest) -> str:
    """For what takes long and should not depend on it."""
    return str(request.param)
