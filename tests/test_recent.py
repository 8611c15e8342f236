"""recent.py: which drafts repeat a message. How it is stored is in contracts/test_storage.py."""

from __future__ import annotations

from python_pubsub_server.storage.recent import is_same_json
from stories import draft


def test_equal_json_is_compared_by_meaning() -> None:
    def same(one: str, other: str) -> bool:
        return is_same_json(draft(raw=one).message, draft(raw=other).message)

    assert same('{"a": [1, "\\u00e9"], "b": null}', '{"b":null,"a":[1,"é"]}')
    assert not same("1", "true")
    assert not same("12345678901234567890", "12345678901234567891")
