"""Chromium over the DevTools protocol through a pipe: a page that is clicked, typed into and photographed."""

import base64
import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from browser_parts import CHROMIUM, OPTIONS, SECONDS

KEYS: Final = {"Enter": 13, "Escape": 27, "ArrowDown": 40, "ArrowUp": 38, "Tab": 9, "Backspace": 8}
END: Final = b"\0"  # of a message in either direction


class Browser:
    """One page; every step waits for the answer of the browser."""

    def __init__(self, to_browser: Any, from_browser: Any) -> None:
        self._to, self._from, self._last, self._rest = to_browser, from_browser, 0, b""
        self._session: str | None = None
        self.console: list[str] = []  # errors and warnings that the page caused
        self.addresses: list[str] = []  # of all requests
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log", "DOM"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """The result of a DevTools command; events that come before it are kept where they matter."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        self._to.write(json.dumps(message).encode() + END)
        self._to.flush()
        while True:
            answer = self._read()
            if answer.get("id") == self._last:
                assert "error" not in answer, (method, answer)
                result: dict[str, Any] = answer["result"]
                return result
            self._note(answer)

    def _read(self) -> dict[str, Any]:
        while END not in self._rest:
            piece = os.read(self._from, 1 << 16)
            assert piece, "the browser ended"
            self._rest += piece
        text, _, self._rest = self._rest.partition(END)
        message: dict[str, Any] = json.loads(text)
        return message

    def _note(self, event: dict[str, Any]) -> None:
        method, params = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.console.append(json.dumps(params["exceptionDetails"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.console.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
        elif method == "Network.requestWillBeSent":
            self.addresses.append(params["request"]["url"])

    def eval(self, expression: str) -> Any:
        """The value of a JavaScript expression; promises are awaited."""
        done = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    def wait(self, expression: str) -> Any:
        """The value of the expression once it is truthy; true for an element."""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            value = self.eval(f"(value => value instanceof Node || value)({expression})")
            if value:
                return value
            time.sleep(0.03)
        raise AssertionError(f"never true: {expression}; the page: {self.eval('document.body.innerText')}")

    def open(self, address: str) -> None:
        self.call("Page.navigate", url=address)
        self.wait("document.readyState === 'complete'")

    def size(self, width: int, height: int) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip

    def scheme(self, name: str) -> None:
        features = [{"name": "prefers-color-scheme", "value": name}]
        self.call("Emulation.setEmulatedMedia", features=features)

    def press(self, key: str, modifiers: int = 0) -> None:
        code = {"windowsVirtualKeyCode": KEYS[key], "key": key, "code": key, "modifiers": modifiers}
        text = {"text": "\r"} if key == "Enter" else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", **code, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **code)

    def write(self, text: str) -> None:
        self.call("Input.insertText", text=text)

    def click(self, selector: str) -> None:
        """Press the mouse on the middle of the first such element, wherever it is on the page."""
        found = json.dumps(selector)
        x, y = self.wait(
            f"(() => {{ const e = document.querySelector({found}); if (!e) return null;"
            "e.scrollIntoView({block: 'center', behavior: 'instant'}); const r = e.getBoundingClientRect();"
            "return r.width ? [r.x + r.width / 2, r.y + r.height / 2] : null; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def choose_file(self, selector: str, path: Path) -> None:
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", files=[str(path)], nodeId=node)

    def layout_shift(self) -> float:
        """How much of the page moved by itself since it was opened: Cumulative Layout Shift."""
        return float(
            self.eval(
                "new Promise(done => { let sum = 0; new PerformanceObserver(list => { for (const each of "
                "list.getEntries()) if (!each.hadRecentInput) sum += each.value; }).observe({type: "
                "'layout-shift', buffered: true}); setTimeout(() => done(sum), 100); })"
            )
        )

    def photograph(self, target: Path) -> Path:
        """The window as a PNG."""
        target.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))
        return target


@contextmanager
def browser(profile: Path, *options: str) -> Iterator[Browser]:
    """A browser of its own, which ends with the block."""
    read_end, to_browser = os.pipe()
    from_browser, write_end = os.pipe()
    # Chromium reads commands from descriptor 3 and answers on 4.
    arguments = [*OPTIONS, "--remote-debugging-pipe", f"--user-data-dir={profile}", *options]
    script = f'exec 3<&{read_end} 4>&{write_end}; exec "$0" "$@"'
    process = subprocess.Popen(
        ["bash", "-c", script, CHROMIUM or "", *arguments],
        pass_fds=(read_end, write_end), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(read_end)
    os.close(write_end)
    try:
        with os.fdopen(to_browser, "wb") as to:
            yield Browser(to, from_browser)
    finally:
        os.close(from_browser)
        process.terminate()
        process.wait(SECONDS)
