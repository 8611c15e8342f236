"""The activity map, used in a real browser against a real server with real traffic."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from browser import Browser, Page
from hostile import hostile

from server import RunningServer

pytestmark = pytest.mark.browser

HOSTILE = hostile("activity-map")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server of this file's own: the map shows all that there is."""
    with RunningServer(tmp_path_factory.mktemp("activity")) as server:
        yield server


@pytest.fixture
def activity_map(open_page: Callable[[str], Page]) -> Page:
    page = open_page("/activity-map.html")
    page.wait_for("document.querySelector('#connection').dataset.state === 'connected'")
    return page


def total(topic: str) -> str:
    """JavaScript for what a topic's row says at its end; null without a row."""
    return (
        "([...document.querySelectorAll('#activity li')].find((row) => "
        f"row.querySelector('.topic').textContent === {json.dumps(topic)})"
        "?.querySelector('.total').textContent ?? null)"
    )


def choose(page: Page, window: str) -> None:
    page.click(f"[name=window][value={window}]")


def test_topics_light_up_as_messages_come(activity_map: Page, server: RunningServer) -> None:
    server.publish("lights", 1, message_id="1")
    activity_map.wait_for(f"{total('lights')} === '1'")
    server.publish("lights", 2, message_id="2")
    activity_map.wait_for(f"{total('lights')} === '2'")


def test_one_can_look_at_the_last_minute_hour_and_day(
    activity_map: Page, server: RunningServer
) -> None:
    server.publish("zoomed", 1)
    spans = {"minute": 60, "hour": 3_600, "day": 86_400}
    for window, seconds in spans.items():
        choose(activity_map, window)
        activity_map.wait_for(f"{total('zoomed')} === '1'")
        activity_map.wait_for(
            "((marks) => Date.parse(marks.at(-1).dateTime) - Date.parse(marks[0].dateTime))"
            f"([...document.querySelectorAll('#activity-axis time')]) === {seconds * 1000}"
        )


def test_a_cell_says_its_number_to_pointer_and_keyboard(
    activity_map: Page, server: RunningServer
) -> None:
    server.publish("told", 1)
    choose(activity_map, "day")
    activity_map.wait_for(f"{total('told')} === '1'")
    activity_map.fill("#filter", "told")
    activity_map.wait_for("document.querySelectorAll('#activity .topic').length <= 2")
    activity_map.evaluate("document.querySelector('#activity canvas').focus()")
    assert "told" in activity_map.text("#activity-cell")
    assert activity_map.text("#activity-cell").endswith("1 messages")
    activity_map.evaluate(
        "document.activeElement.dispatchEvent("
        "new KeyboardEvent('keydown', { key: 'ArrowLeft', bubbles: true }))"
    )
    assert activity_map.text("#activity-cell").endswith("0 messages")
    activity_map.evaluate(
        """(() => {
          const strip = document.querySelector("#activity canvas");
          const { right, top } = strip.getBoundingClientRect();
          const at = { clientX: right - 1, clientY: top + 2, bubbles: true };
          strip.dispatchEvent(new PointerEvent("pointermove", at));
        })()"""
    )
    assert activity_map.text("#activity-cell").endswith("1 messages")


def test_the_filter_shows_the_topics_of_a_pattern(
    activity_map: Page, server: RunningServer
) -> None:
    for topic in ("map:a", "map:b", "elsewhere"):
        server.publish(topic, 1)
    activity_map.wait_for(f"{total('elsewhere')} !== null")
    activity_map.fill("#filter", "map:*")
    activity_map.wait_for(f"{total('elsewhere')} === null && {total('map:b')} === '1'")
    activity_map.fill("#filter", "there-is-no-such")
    activity_map.wait_for("!document.querySelector('#activity-nothing-found').hidden")


def test_names_that_contain_markup_stay_text(activity_map: Page, server: RunningServer) -> None:
    server.publish(HOSTILE, HOSTILE, producer=HOSTILE)
    activity_map.wait_for(f"{total(HOSTILE)} === '1'")
    activity_map.evaluate("document.querySelector('#activity canvas').focus()")
    assert activity_map.evaluate("document.querySelectorAll('main img, main script').length") == 0
    assert activity_map.evaluate("globalThis.hacked ?? null") is None


def test_the_shades_follow_the_theme(activity_map: Page, server: RunningServer) -> None:
    server.publish("shaded", 1)
    activity_map.wait_for(f"{total('shaded')} !== null")
    shade = """(() => {
      const strip = document.querySelector("#activity canvas").getContext("2d");
      const [red, green, blue] = strip.getImageData(1, 1, 1, 1).data;
      const nothing = document.querySelector(".map-legend i");
      const cell = `rgb(${red}, ${green}, ${blue})`;
      return getComputedStyle(nothing).backgroundColor === cell && cell;
    })()"""
    activity_map.resize(1000, 800)
    light = activity_map.wait_for(shade)
    activity_map.resize(1000, 800, dark=True)
    dark = activity_map.wait_for(shade)
    assert light != dark


def test_an_empty_server_says_what_to_do_and_a_restart_is_survived(
    browser: Browser, tmp_path: Path
) -> None:
    with RunningServer(tmp_path) as server:
        page = browser.page()
        page.go(server.url + "/activity-map.html")
        page.wait_for("!document.querySelector('#activity-empty').hidden")
        assert f"curl {server.url}/publish" in page.text("#activity-empty code")
        server.stop()
        page.wait_for("document.querySelector('#connection').dataset.state === 'reconnecting'")
        server.start()
        page.click("#connection-retry")
        page.wait_for("document.querySelector('#connection').dataset.state === 'connected'")
        server.publish("after-restart", 1)
        page.wait_for(f"{total('after-restart')} === '1'")
        page.close()
