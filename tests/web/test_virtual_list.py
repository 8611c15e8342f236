"""The long list that pages share, in a real browser: ten thousand rows, pointer and keyboard."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from browser import Page

pytestmark = pytest.mark.browser

MAKE = """
import("/static/page/virtual-list.js").then(({ virtualList }) => {
  const box = document.createElement("div");
  box.id = "box";
  box.setAttribute("role", %r);
  box.setAttribute("aria-label", "numbers");
  Object.assign(box.style, { height: "400px", position: "fixed", inset: "0", zIndex: 9 });
  document.body.append(box);
  globalThis.rendered = 0;
  globalThis.list = virtualList(box, {
    rowHeight: 40,
    key: (item) => item.name,
    render: (item, present) => {
      globalThis.rendered += 1;
      const row = present ?? document.createElement("div");
      row.textContent = item.name;
      return row;
    },
  });
  globalThis.items = Array.from({ length: 10_000 }, (_, index) => ({ name: `row ${index}` }));
  globalThis.list.update(globalThis.items);
})
"""
ROWS = "[...document.querySelectorAll('#box .virtual-rows > *')]"
TOP = (
    f"{ROWS}.find((row) => row.getBoundingClientRect().top >= "
    "document.querySelector('#box').getBoundingClientRect().top - 1).textContent"
)


def long_list(open_page: Callable[[str], Page], role: str) -> Page:
    page = open_page("/activity-map.html")
    page.resize(800, 600)
    page.evaluate(MAKE % role)
    page.wait_for(f"{ROWS}.length > 0")
    return page


def test_of_ten_thousand_rows_only_those_in_sight_are_made(
    open_page: Callable[[str], Page],
) -> None:
    page = long_list(open_page, "list")
    page.wait_for(f"{ROWS}.length === 18")
    page.evaluate("document.querySelector('#box').scrollTop = 5000 * 40")
    page.wait_for(f"{TOP} === 'row 5000'")
    assert page.evaluate(f"{ROWS}.length") < 40
    row = f"{ROWS}.find((row) => row.textContent === 'row 5000')"
    assert page.evaluate(f"{row}.getAttribute('role')") == "listitem"
    assert page.evaluate(f"{row}.getAttribute('aria-posinset')") == "5001"
    assert page.evaluate(f"{row}.getAttribute('aria-setsize')") == "10000"


def test_a_table_counts_its_rows(open_page: Callable[[str], Page]) -> None:
    page = long_list(open_page, "table")
    assert page.evaluate("document.querySelector('#box').getAttribute('aria-rowcount')") == "10000"
    page.wait_for(f"{ROWS}[3].getAttribute('aria-rowindex') === '4'")
    assert page.evaluate(f"{ROWS}[3].getAttribute('role')") == "row"


def test_the_keyboard_goes_through_the_whole_list(open_page: Callable[[str], Page]) -> None:
    page = long_list(open_page, "list")
    assert page.evaluate(f"{ROWS}.filter((row) => row.tabIndex === 0).length") == 1
    page.evaluate(f"{ROWS}[0].focus()")
    for key, name in (("ArrowDown", "row 1"), ("End", "row 9999"), ("ArrowUp", "row 9998")):
        page.evaluate(
            "document.activeElement.dispatchEvent("
            f"new KeyboardEvent('keydown', {{ key: '{key}', bubbles: true, cancelable: true }}))"
        )
        assert page.evaluate("document.activeElement.textContent") == name
    page.evaluate("document.querySelector('#box').scrollTop = 0")
    page.wait_for(f"{TOP} === 'row 0'")
    assert page.evaluate("document.activeElement.textContent") == "row 9998"
    assert page.evaluate(f"{ROWS}.filter((row) => row.tabIndex === 0).length") == 1


def test_what_one_looks_at_stays_when_rows_come_above(open_page: Callable[[str], Page]) -> None:
    page = long_list(open_page, "list")
    page.evaluate("document.querySelector('#box').scrollTop = 100 * 40 + 10")
    page.wait_for(f"{TOP} === 'row 101'")
    page.evaluate(f"{ROWS}.find((row) => row.textContent === 'row 103').focus()")
    page.evaluate("list.update([{ name: 'new 1' }, { name: 'new 2' }, ...items])")
    assert page.evaluate(TOP) == "row 101"
    assert page.evaluate("document.querySelector('#box').scrollTop") == 102 * 40 + 10
    assert page.evaluate("document.activeElement.textContent") == "row 103"
    page.evaluate("document.querySelector('#box').scrollTop = 0")
    page.wait_for(f"{TOP} === 'new 1'")
    page.evaluate("list.update([{ name: 'newest' }, ...items])")
    assert page.evaluate(TOP) == "newest"


def test_rows_that_did_not_change_are_left_alone(open_page: Callable[[str], Page]) -> None:
    page = long_list(open_page, "list")
    page.wait_for(f"{ROWS}.length === 18")
    page.evaluate(
        "globalThis.rendered = 0; globalThis.kept = document.querySelector('#box p, #box div div')"
    )
    page.evaluate("list.update([...items])")
    assert page.evaluate("globalThis.rendered") == 0
    page.evaluate("list.update([{ name: 'row 0' }, ...items.slice(1)])")
    assert page.evaluate("globalThis.rendered") == 1
    assert page.evaluate("globalThis.kept.isConnected")


def test_the_focus_goes_on_to_the_next_row_when_its_row_goes(
    open_page: Callable[[str], Page],
) -> None:
    page = long_list(open_page, "list")
    page.evaluate(f"{ROWS}[2].focus()")
    page.evaluate("list.update(items.filter(({ name }) => name !== 'row 2'))")
    assert page.evaluate("document.activeElement.textContent") == "row 3"
    page.evaluate("list.update([])")
    assert page.evaluate(f"{ROWS}.length") == 0
