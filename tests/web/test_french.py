"""Every text that is written in a page is in French, too. Needs no browser."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from french import known_texts

from python_pubsub_server.routes.pages import TEMPLATES

ATTRIBUTES = ("aria-label", "placeholder", "title")
OPAQUE = ("script", "style", "textarea", "kbd")
# The same in every language.
SAME = {"Pub/Sub", "English", "Français", "JSON", "SVG", "PNG", "host:*", "user=ada"}
PATH = re.compile(r"(/[a-z]+)+")
# What pages are made of; each of its texts is in some page.
PARTS = {"layout.html", "shell.html", "parts.html", "graph.html"}


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


PAGES = [name for name in TEMPLATES.list_templates() if name not in PARTS]


@pytest.mark.parametrize("page", PAGES)
def test_every_text_of_a_page_is_in_french(page: str) -> None:
    texts = Texts()
    texts.feed(TEMPLATES.get_template(page).render())
    found = {text.removesuffix(" · Pub/Sub") for text in texts.found}
    unknown = found - known_texts() - SAME
    assert {text for text in unknown if not PATH.fullmatch(text)} == set()
