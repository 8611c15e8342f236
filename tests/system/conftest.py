from __future__ import annotations

from collections.abc import Iterator

import pytest

from server import RunningServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One server for the tests of a file; each takes topics of its own."""
    with RunningServer(tmp_path_factory.mktemp("server")) as running:
        yield running
