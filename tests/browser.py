"""A headless Chromium, driven over its own protocol through two pipes: what a page shows, says and asks the net for."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

_ANSWER_S = 60.0
_CHUNK_BYTES = 1 << 20
_ARGUMENTS = ("--headless", "--no-first-run", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe")


class Page:
    """One page. ``messages`` holds what its console said, ``requests`` every address that it asked for."""

    def __init__(self, reading: int, writing: int) -> None:
        self._reading, self._writing = reading, writing
        self._pending = b""
        self._number = 0
        self._session: str | None = None
        self._seen: set[str] = set()
        self.messages: list[str] = []
        self.requests: list[str] = []

    def attach(self) -> None:
        """Take hold of an empty page and listen to everything that it does."""
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._ask(f"{domain}.enable")

    def open(self, path: Path | str, *, script: bool = True) -> None:
        """Show a file, or what is at an address, and return when it is loaded."""
        self._ask("Emulation.setScriptExecutionDisabled", value=not script)
        self._seen.clear()
        self._ask("Page.navigate", url=path if isinstance(path, str) else path.as_uri())
        while "Page.loadEventFired" not in self._seen:
            self._take()

    def look(self, *, width: int = 1280, height: int = 900, scheme: str = "light") -> None:
        """Set the window's size and what the system prefers."""
        self._ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )
        self._ask("Emulation.setScrollbarsHidden", hidden=True)
        self._ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def value(self, expression: str) -> Any:
        """What an expression comes to in the page."""
        answer = self._ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        """Press a key, where the focus is."""
        text = "\r" if key == "Enter" else ""
        for kind in ("keyDown", "keyUp"):
            self._ask("Input.dispatchKeyEvent", type=kind, key=key, code=key, text=text if kind == "keyDown" else "",
                      windowsVirtualKeyCode={"Enter": 13, "Tab": 9}[key])  # fmt: skip

    def type(self, text: str) -> None:
        """Type, where the focus is."""
        self._ask("Input.insertText", text=text)

    def screenshot(self, *, whole: bool = False) -> bytes:
        """The window, or the whole page, as PNG."""
        return base64.b64decode(self._ask("Page.captureScreenshot", captureBeyondViewport=whole)["data"])

    def _ask(self, method: str, **parameters: object) -> dict[str, Any]:
        self._number += 1
        asked: dict[str, object] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            asked["sessionId"] = self._session
        os.write(self._writing, json.dumps(asked).encode() + b"\0")
        while True:
            answer = self._take()
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer["error"])
                result: dict[str, Any] = answer["result"]
                return result

    def _take(self) -> dict[str, Any]:
        """The next message of the browser; what a page did is remembered."""
        deadline = monotonic() + _ANSWER_S
        while b"\0" not in self._pending:
            ready, _, _ = select.select([self._reading], [], [], max(0, deadline - monotonic()))
            assert ready, "the browser is silent"
            chunk = os.read(self._reading, _CHUNK_BYTES)
            assert chunk, "the browser ended"
            self._pending += chunk
        first, _, self._pending = self._pending.partition(b"\0")
        message: dict[str, Any] = json.loads(first)
        self._remember(message.get("method", ""), message.get("params", {}))
        return message

    def _remember(self, event: str, told: dict[str, Any]) -> None:
        self._seen.add(event)
        if event == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])
        elif event == "Log.entryAdded":
            self.messages.append(told["entry"]["text"])
        elif event in {"Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Page.javascriptDialogOpening"}:
            self.messages.append(json.dumps(told))


@contextmanager
def browser() -> Iterator[Page]:
    """A page of a browser of its own, which ends with the block."""
    assert PROGRAM
    commands, answers = os.pipe(), os.pipe()
    sandbox = () if os.geteuid() else ("--no-sandbox",)  # Chromium has no sandbox for root
    with TemporaryDirectory(ignore_cleanup_errors=True) as home:
        # The browser reads its commands from descriptor 3 and answers on 4.
        line = f'exec "$@" 3<&{commands[0]} 4>&{answers[1]}'
        process = subprocess.Popen(
            ["bash", "-c", line, "browser", PROGRAM, *_ARGUMENTS, *sandbox, f"--user-data-dir={home}"],
            pass_fds=(commands[0], answers[1]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(commands[0])
        os.close(answers[1])
        page = Page(answers[0], commands[1])
        try:
            page.attach()
            yield page
        finally:
            process.terminate()
            process.wait(_ANSWER_S)
            os.close(answers[0])
            os.close(commands[1])
