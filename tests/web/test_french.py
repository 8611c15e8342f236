"""Every text that is written in a page is in French, too. Needs no browser."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from server import ROOT

WEB = ROOT / "src" / "python_pubsub_server" / "web"
ATTRIBUTES = ("aria-label", "placeholder", "title")
OPAQUE = ("script", "style", "textarea", "kbd")
# The same in every language.
SAME = {"Pub/Sub", "English", "Français", "JSON", "SVG", "PNG", "host:*", "user=ada"}
PATH = re.compile(r"(/[a-z]+)+")


class Texts(HTMLParser):
    """What a reader meets in a page's source."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()
        self._opaque = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._opaque += tag in OPAQUE
        for name, value in attrs:
            if name in ATTRIBUTES:
                self.handle_data(value or "")

    def handle_endtag(self, tag: str) -> None:
        self._opaque -= tag in OPAQUE

    def handle_data(self, data: str) -> None:
        if not self._opaque and re.search(r"\w\w", data):
            self.found.add(data.strip())


@pytest.mark.parametrize(
    "page", sorted((WEB / "templates").glob("*.html")), ids=lambda path: path.name
)
def test_every_text_of_a_page_is_in_french(page: Path) -> None:
    french = (WEB / "static" / "page" / "french.js").read_text(encoding="utf-8")
    keys = re.findall(r'^  ("(?:[^"\\]|\\.)*"):', french, re.MULTILINE)
    texts = Texts()
    texts.feed(page.read_text(encoding="utf-8"))
    unknown = texts.found - {json.loads(key) for key in keys} - SAME
    assert {text for text in unknown if not PATH.fullmatch(text)} == set()
