"""Makes the pictures of the documentation: the control panel in its light and its dark form.

make screenshots        docs/images/control-panel-light.png and -dark.png
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from browser import Browser, Page, find_chromium

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from server import ROOT, RunningServer

IMAGES = ROOT / "docs" / "images"
WIDTH, HEIGHT = 1280, 1480  # higher than the page, so that it has no scroll bar
CONTENTS = (
    ("orders", "shop", {"order": 1041, "total": 12.5, "items": ["tea", "cup"]}),
    ("orders", "shop", {"order": 1042, "total": 80, "items": ["kettle"]}),
    ("host:cpu", "host-metrics@nas", {"percent": 17.4, "load_average": [0.42, 0.31, 0.28]}),
    ("host:memory", "host-metrics@nas", {"percent": 61.2, "used_bytes": 10512031744}),
    ("alerts", "door", {"type": "alert", "text": "The garage is open"}),
)


def fill(server: RunningServer) -> None:
    for number, (topic, producer, content) in enumerate(CONTENTS, start=1):
        answer = server.publish(
            topic, content, message_id=f"{producer}-{number}", producer=producer
        )
        answer.raise_for_status()


def use(page: Page) -> None:
    page.wait_for("document.querySelector('#connection').dataset.state === 'connected'")
    page.fill("#subscribe-consumer", "wall-display")
    page.fill("#subscribe-topics", "orders host:* alerts")
    page.fill("#subscribe-after", "beginning")
    page.click("#subscribe-send")
    page.wait_for(f"document.querySelectorAll('#received .item').length === {len(CONTENTS)}")
    for number in (4, 5):  # the newest is above
        page.click(f"#received .item:nth-of-type({number}) button")
    page.wait_for("document.querySelectorAll('#consumptions tbody tr').length === 2")
    page.wait_for("document.querySelectorAll('#clients tbody tr').length >= 3")
    page.wait_for(f"document.querySelectorAll('#messages tbody tr').length === {len(CONTENTS)}")


def main() -> None:
    chromium = find_chromium()
    if chromium is None:
        sys.exit("Chromium or Chrome is needed (Debian: apt install chromium)")
    IMAGES.mkdir(parents=True, exist_ok=True)
    for form in ("light", "dark"):
        with (
            tempfile.TemporaryDirectory() as folder,
            RunningServer(Path(folder)) as server,
            Browser(chromium) as browser,
        ):
            fill(server)
            page = browser.page()
            page.resize(WIDTH, HEIGHT, dark=form == "dark")
            page.go(server.url + "/control-panel.html")
            use(page)
            path = IMAGES / f"control-panel-{form}.png"
            page.screenshot(path)
            print(f"{path.relative_to(ROOT)}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
