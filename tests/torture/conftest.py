from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from .amount import AMOUNT

SEED = pytest.StashKey[int]()


@pytest.fixture
def dice(request: pytest.FixtureRequest) -> random.Random:
    """Random moments; the seed is in the report of a test that fails."""
    seed = random.SystemRandom().randrange(2**32)
    request.node.add_report_section("call", "torture", f"TORTURE={AMOUNT}, dice={seed}")
    return random.Random(seed)


@pytest.fixture(params=["full", "normal"])
def durability(request: pytest.FixtureRequest) -> Iterator[str]:
    yield request.param
