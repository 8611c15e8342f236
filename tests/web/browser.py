"""A small driver of headless Chromium over the DevTools protocol, for tests that use a page.

https://chromedevtools.github.io/devtools-protocol/
"""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

import websocket

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
)
START_TIMEOUT = 30.0
TIMEOUT = 30.0

WAIT = """
new Promise((resolve, reject) => {
  const deadline = performance.now() + %f * 1000;
  const check = () => {
    let value, problem = "it stayed false";
    try { value = (%s); } catch (error) { problem = String(error); }
    if (value) resolve(value);
    else if (performance.now() > deadline) reject(new Error(problem));
    else setTimeout(check, 15);
  };
  check();
})
"""


def choosing(selector: str, value: str) -> str:
    """JavaScript that chooses an option of a list."""
    return f"""(() => {{
      const select = document.querySelector({json.dumps(selector)});
      select.value = {json.dumps(value)};
      select.dispatchEvent(new Event("change", {{ bubbles: true }}));
    }})()"""


def find_chromium() -> str | None:
    """The path of an installed Chromium, if there is one."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


class DevTools:
    """One DevTools connection: commands with their answers, and the events that came between."""

    def __init__(self, url: str) -> None:
        self._socket = websocket.create_connection(url, timeout=TIMEOUT * 2, suppress_origin=True)
        self._last_id = 0
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result; AssertionError when it fails."""
        self._last_id += 1
        self._socket.send(json.dumps({"id": self._last_id, "method": method, "params": parameters}))
        while True:
            answer: dict[str, Any] = json.loads(self._socket.recv())
            if answer.get("id") != self._last_id:
                self.events.append(answer)
            elif "error" in answer:
                raise AssertionError(f"{method}: {answer['error']['message']}")
            else:
                result: dict[str, Any] = answer["result"]
                return result

    def close(self) -> None:
        self._socket.close()


class Page:
    """One page in a window of its own."""

    def __init__(self, devtools: DevTools) -> None:
        self._devtools = devtools
        for domain in ("Page", "Runtime", "Log"):
            devtools.call(f"{domain}.enable")
        devtools.call("Emulation.setFocusEmulationEnabled", enabled=True)

    def go(self, url: str) -> Page:
        """Open an address and wait until its scripts ran."""
        result = self._devtools.call("Page.navigate", url=url)
        assert "errorText" not in result, f"{url}: {result['errorText']}"
        self.wait_for("location.href !== 'about:blank' && document.readyState === 'complete'")
        return self

    def evaluate(self, expression: str) -> Any:
        """The JSON value of a JavaScript expression; promises are waited for."""
        result = self._devtools.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in result:
            details = result["exceptionDetails"]
            text = details.get("exception", {}).get("description", details["text"])
            raise AssertionError(f"{expression.strip()}\n{text}")
        return result["result"].get("value")

    def wait_for(self, expression: str, timeout: float = TIMEOUT) -> Any:
        """Wait until a JavaScript expression is true, and return its value."""
        try:
            return self.evaluate(WAIT % (timeout, expression))
        except AssertionError as error:
            raise AssertionError(
                f"not within {timeout:g} s: {expression}\n{str(error).splitlines()[-1]}"
                f"\nthe page's errors: {self.errors()}"
            ) from None

    def click(self, selector: str) -> None:
        self.evaluate(f"document.querySelector({json.dumps(selector)}).click()")

    def fill(self, selector: str, value: str) -> None:
        """Put a value into a field, as if it was typed."""
        self.evaluate(
            f"""(() => {{
              const field = document.querySelector({json.dumps(selector)});
              field.value = {json.dumps(value)};
              field.dispatchEvent(new Event("input", {{ bubbles: true }}));
            }})()"""
        )

    def press(self, key: str, *, ctrl: bool = False) -> None:
        """Press and release a key (`Tab`, `Enter`, …), with the real keyboard events."""
        codes = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32}
        event = {
            "key": key,
            "code": "Space" if key == " " else key,
            "windowsVirtualKeyCode": codes[key],
            "modifiers": 2 if ctrl else 0,
        }
        text = {"Enter": "\r", " ": " "}.get(key)
        down = event | ({"text": text} if text else {})
        self._devtools.call("Input.dispatchKeyEvent", type="keyDown", **down)
        self._devtools.call("Input.dispatchKeyEvent", type="keyUp", **event)

    def choose(self, selector: str, value: str) -> None:
        """Choose an option of a list, as if by hand."""
        self.evaluate(choosing(selector, value))

    def text(self, selector: str) -> str:
        value: str = self.evaluate(f"document.querySelector({json.dumps(selector)}).textContent")
        return value

    def errors(self) -> list[str]:
        """Uncaught exceptions and what the browser refused (a policy, a missing file) so far."""
        self._devtools.call("Runtime.evaluate", expression="0")  # what happened before it is here
        found = []
        for event in self._devtools.events:
            if event["method"] == "Runtime.exceptionThrown":
                details = event["params"]["exceptionDetails"]
                found.append(details.get("exception", {}).get("description", details["text"]))
            elif event["method"] == "Log.entryAdded":
                entry = event["params"]["entry"]
                if entry["level"] == "error":
                    found.append(f"{entry['text']} {entry.get('url', '')}")
        return found

    def resize(self, width: int, height: int, *, dark: bool = False) -> None:
        self._devtools.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        self.prefer(dark=dark)

    def prefer(self, *, dark: bool = False, reduced_motion: bool = False) -> None:
        """What the reader wants of every page."""
        wishes = {
            "prefers-color-scheme": "dark" if dark else "light",
            "prefers-reduced-motion": "reduce" if reduced_motion else "no-preference",
        }
        features = [{"name": name, "value": value} for name, value in wishes.items()]
        self._devtools.call("Emulation.setEmulatedMedia", features=features)

    def hide_scrollbars(self) -> None:
        """Of the pages that are opened from now on."""
        self._devtools.call("Emulation.setScrollbarsHidden", hidden=True)

    def screenshot(self, path: Path) -> None:
        """Save what the window shows as a PNG."""
        result = self._devtools.call("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(result["data"]))

    def close(self) -> None:
        with contextlib.suppress(AssertionError, OSError, websocket.WebSocketException):
            self._devtools.call("Page.close")
        self._devtools.close()


class Browser:
    """`with Browser(path) as browser:` is a Chromium with a profile of its own, gone afterwards.

    With `core` it runs on that core only.
    """

    def __init__(self, executable: str, *, core: int | None = None) -> None:
        self._profile = tempfile.TemporaryDirectory(
            prefix="pubsub-chromium-", ignore_cleanup_errors=True
        )
        pinning = [] if core is None else ["taskset", "--cpu-list", str(core)]
        self._process = subprocess.Popen(
            [*pinning, executable, *FLAGS, f"--user-data-dir={self._profile.name}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._pages: list[Page] = []
        try:
            self._devtools = DevTools(self._address())
        except BaseException:
            self._end()
            raise

    def page(self) -> Page:
        """A new page, empty."""
        target = self._devtools.call("Target.createTarget", url="about:blank", newWindow=True)
        page = Page(DevTools(f"{self._origin}/devtools/page/{target['targetId']}"))
        self._pages.append(page)
        return page

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for page in self._pages:
            page.close()
        with contextlib.suppress(AssertionError, OSError, websocket.WebSocketException):
            self._devtools.call("Browser.close")
        self._devtools.close()
        self._end()

    def _address(self) -> str:
        """The DevTools address, as Chromium announces it."""
        found: list[str] = []
        announced = threading.Event()

        def read() -> None:
            assert self._process.stderr is not None
            with self._process.stderr as lines:
                for line in lines:
                    if line.startswith("DevTools listening on "):
                        found.append(line.split()[-1])
                        announced.set()
            announced.set()

        self._reader = threading.Thread(target=read, daemon=True)
        self._reader.start()
        if not announced.wait(START_TIMEOUT) or not found:
            raise AssertionError("Chromium did not start")
        self._origin = found[0].split("/devtools/")[0]
        return found[0]

    def _end(self) -> None:
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(5)
        self._reader.join(5)
        self._profile.cleanup()
