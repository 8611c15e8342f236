"""Nothing that anybody is called or sends becomes markup or script, on any page.

Each name comes as topic, producer, consumer, message id and content; then every page is looked at,
and what can be opened on it is opened.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from urllib.parse import quote

import pytest
from browser import Page
from pages import page_paths, show_topic

from server import RunningServer
from system.clients import Client

pytestmark = pytest.mark.browser

PAGES = page_paths()
TOPIC = "/control-panel.html?topic={name}"
NAMES = (
    "<img src=x onerror=globalThis.hacked=1>",
    "<script>globalThis.hacked=2</script>",
    "\"><svg onload=globalThis.hacked=3><a href='javascript:globalThis.hacked=3'>",
    "' onmouseover=globalThis.hacked=4 onfocus=globalThis.hacked=4 autofocus x='",
    "</title></style></textarea></script><iframe srcdoc='<script>parent.hacked=5</script>'>",
    "{name} {{constructor}} ${globalThis.hacked=6} %3Cscript%3E &lt;b&gt;",
    "__proto__",
)
# What the pages' own templates have none of.
FOREIGN = "main :is(script, iframe, object, embed, img, style, [onerror], [onload], [onmouseover])"
SCRIPTED = "[...document.querySelectorAll('a')].filter((a) => a.protocol === 'javascript:').length"
OPEN_ALL = """(() => {
  for (const each of document.querySelectorAll("main details")) each.open = true;
  for (const each of document.querySelectorAll("main .node, main canvas, main [role=row]")) {
    each.dispatchEvent(new MouseEvent("click", { bubbles: true }));
    each.focus?.();
  }
})()"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server on which everything has such a name."""
    with RunningServer(tmp_path_factory.mktemp("hostile")) as server, Client(server.url) as client:
        client.subscribe(*NAMES, consumer=NAMES[0])
        for name in NAMES:
            content = {name: [name, {name: name}]}
            server.publish(name, content, message_id=name, producer=name).raise_for_status()
            claim = {"consumer": NAMES[0], "topic": name, "message_id": name}
            assert client.call("consumed", claim)["status"] == "ok"
        yield server


def hurt(page: Page) -> list[object]:
    """What became markup or ran."""
    return [
        page.evaluate(f"document.querySelectorAll({json.dumps(FOREIGN)}).length"),
        page.evaluate(SCRIPTED),
        page.evaluate("globalThis.hacked ?? null"),
        page.evaluate("({}).hacked ?? null"),
    ]


@pytest.mark.parametrize("path", [*PAGES, TOPIC])
@pytest.mark.parametrize("name", [NAMES[0], NAMES[4]])
def test_names_and_contents_stay_text(
    open_page: Callable[[str], Page], server: RunningServer, path: str, name: str
) -> None:
    page = open_page(path.format(name=quote(name)) + "#" + quote(name))
    page.wait_for("document.querySelector('#connection').dataset.state === 'connected'")
    show_topic(page, path, name)
    page.evaluate(OPEN_ALL)
    server.publish(name, [path, name], message_id=f"{path} {name}", producer=name)
    show_topic(page, path, name)
    page.evaluate(OPEN_ALL)
    assert hurt(page) == [0, 0, None, None]


@pytest.mark.parametrize("path", [path for path in PAGES if "graph" in path])
def test_each_node_of_such_a_name_shows_its_details(
    open_page: Callable[[str], Page], server: RunningServer, path: str
) -> None:
    page = open_page(path)
    for name in NAMES:
        page.wait_for(
            f"[...document.querySelectorAll('.node')].find((n) => n.dataset.id === "
            f"{json.dumps(f'topic {name}')})?.dispatchEvent(new MouseEvent('click', "
            "{ bubbles: true })) ?? false"
        )
        page.wait_for(f"document.querySelector('#details-name').textContent === {json.dumps(name)}")
    assert hurt(page) == [0, 0, None, None]
