"""What all pages share, in a real browser: navigation, connection, language and theme."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from browser import Page, choosing
from french import known_texts
from pages import page_paths
from panel import reopen

from server import ROOT

pytestmark = pytest.mark.browser

PAGES = page_paths()
STATIC = ROOT / "src" / "python_pubsub_server" / "web" / "static"
OpenPage = Callable[[str], Page]


def connected(page: Page) -> Page:
    page.wait_for("document.querySelector('#connection').dataset.state === 'connected'")
    return page


def choose_language(page: Page, name: str) -> None:
    """Choose a language, and wait until the page is opened anew."""
    reopen(page, choosing("#language", name))


@pytest.fixture
def chooser(open_page: OpenPage) -> Iterator[Page]:
    """A page on which something is chosen; afterwards the choice is forgotten."""
    page = connected(open_page(PAGES[0]))
    yield page
    page.evaluate("localStorage.clear()")


@pytest.mark.parametrize("path", PAGES)
def test_every_page_connects_and_leads_to_every_other(open_page: OpenPage, path: str) -> None:
    page = connected(open_page(path))
    links = page.evaluate("[...document.querySelectorAll('.pages a')].map((a) => a.pathname)")
    assert links == PAGES
    assert page.evaluate("document.querySelector('.pages [aria-current]').pathname") == path
    assert page.evaluate("document.querySelectorAll('h1').length") == 1


@pytest.mark.parametrize("path", PAGES)
def test_every_page_speaks_french(chooser: Page, open_page: OpenPage, path: str) -> None:
    english = connected(open_page(path))
    title = english.evaluate("document.title")
    texts = english.evaluate(
        "[...document.querySelectorAll('h1, h2, h3, label')].map((e) => e.textContent.trim())"
    )
    choose_language(chooser, "fr")
    french = connected(open_page(path))
    assert french.evaluate("document.documentElement.lang") == "fr"
    assert french.text("#connection-text") == "Connecté"
    assert french.evaluate("document.title") != title
    translated = french.evaluate(
        "[...document.querySelectorAll('h1, h2, h3, label')].map((e) => e.textContent.trim())"
    )
    same = {text for text in texts if text in translated}
    assert same <= {"", "Message", "Messages", "Message JSON", "Notifications", "general"}


def test_the_language_is_that_of_the_browser_until_one_is_chosen(chooser: Page) -> None:
    assert chooser.evaluate("document.documentElement.lang") == "en"
    for language in ("fr", "en"):
        choose_language(chooser, language)
        assert connected(chooser).evaluate("document.documentElement.lang") == language


@pytest.mark.parametrize("path", PAGES)
def test_the_theme_is_that_of_the_system_until_one_is_chosen(
    chooser: Page, open_page: OpenPage, path: str
) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    page = open_page(path)
    page.resize(1000, 800)
    light = page.evaluate(ground)
    page.resize(1000, 800, dark=True)
    dark = page.evaluate(ground)
    assert light != dark
    page.choose("#theme", "light")
    assert page.evaluate(ground) == light
    again = open_page(path)
    again.resize(1000, 800, dark=True)
    assert again.evaluate(ground) == light
    again.choose("#theme", "system")
    assert again.evaluate(ground) == dark


@pytest.mark.parametrize("path", PAGES)
def test_a_page_fits_a_phone(open_page: OpenPage, path: str) -> None:
    page = connected(open_page(path))
    page.resize(360, 740)
    page.wait_for("innerWidth === 360")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_every_text_of_the_scripts_is_in_french() -> None:
    said = {
        text
        for file in STATIC.rglob("*.js")
        for text in re.findall(r'\bsay\("([^"]*)"', file.read_text(encoding="utf-8"))
    }
    assert len(said) > 20
    assert said - known_texts() == set()
