from __future__ import annotations

from pathlib import Path

import pytest

SKIPPING = "import pytest\ndef test_it(): pytest.skip('no browser')\n"
SKIPPING_FILE = "import pytest\npytest.importorskip('no_such_module')\n"
PASSING = "import pytest\ndef test_it(): pass\n@pytest.mark.xfail\ndef test_no(): assert 0\n"


@pytest.mark.parametrize(
    ("ci", "content", "outcome"),
    [
        ("true", SKIPPING, pytest.ExitCode.TESTS_FAILED),
        ("true", SKIPPING_FILE + PASSING, pytest.ExitCode.NO_TESTS_COLLECTED),
        ("true", PASSING, pytest.ExitCode.OK),
        ("", SKIPPING, pytest.ExitCode.OK),
        ("false", SKIPPING, pytest.ExitCode.OK),
    ],
)
def test_a_skipped_test_fails_only_when_ci_is_set(
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    ci: str,
    content: str,
    outcome: pytest.ExitCode,
) -> None:
    monkeypatch.setenv("CI", ci)
    pytester.makeconftest(Path(__file__).with_name("conftest.py").read_text(encoding="utf-8"))
    pytester.makepyfile(content)
    assert pytester.runpytest_inprocess().ret == outcome


def test_a_skipped_file_among_others_fails_in_ci(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    pytester.makeconftest(Path(__file__).with_name("conftest.py").read_text(encoding="utf-8"))
    pytester.makepyfile(test_skipped=SKIPPING_FILE, test_passed=PASSING)
    result = pytester.runpytest_inprocess()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*skipped, which fails when CI is set*", "test_skipped.py"])


MARKED = "import pytest\n@pytest.mark.sqlite({})\ndef test_it(): pass\n"


@pytest.mark.parametrize(
    ("database", "reason", "outcome"),
    [
        ("sqlite", "reason='its files'", pytest.ExitCode.OK),
        ("postgresql", "reason='its files'", pytest.ExitCode.NO_TESTS_COLLECTED),
        ("postgresql", "", pytest.ExitCode.USAGE_ERROR),
    ],
)
def test_what_is_about_sqlite_is_left_out_on_postgresql_and_says_why(
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    database: str,
    reason: str,
    outcome: pytest.ExitCode,
) -> None:
    monkeypatch.setenv("CI", "true")
    monkeypatch.setenv("TEST_DATABASE", database)
    pytester.makeconftest(Path(__file__).with_name("conftest.py").read_text(encoding="utf-8"))
    pytester.makeini("[pytest]\nmarkers = sqlite(reason)")
    pytester.makepyfile(MARKED.format(reason))
    assert pytester.runpytest_inprocess("--strict-markers").ret == outcome
