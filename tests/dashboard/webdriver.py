"""A real Chromium, driven by the W3C WebDriver protocol over HTTP (https://www.w3.org/TR/webdriver2/)."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import h11
import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

MISSING: Final = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
"""What of it is not installed; on Debian: apt install chromium chromium-driver."""

TAB: Final = "\ue004"
ENTER: Final = "\ue007"
ESCAPE: Final = "\ue00c"
RIGHT: Final = "\ue014"

_OPTIONS: Final = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--no-proxy-server", "--lang=en",
]  # fmt: skip

_UNTIL: Final = """
const done = arguments[arguments.length - 1], inside = arguments;
const look = () => {
  const found = (function () { %s }).apply(null, inside);
  found ? done(found) : requestAnimationFrame(look);
};
look();
"""


class Browser:
    """One window. Whatever fails in the page fails here, with what the console says."""

    def __init__(self, port: int, session: str) -> None:
        self._port = port
        self._session = session

    async def go(self, url: str) -> None:
        await self._do("url", {"url": url})

    async def run(self, script: str, *arguments: object) -> Any:
        """The value that ``script`` returns in the page."""
        return await self._do("execute/sync", {"script": script, "args": list(arguments)})

    async def until(self, script: str, *arguments: object) -> Any:
        """Wait until ``script`` returns something true; it is asked with every picture that the page draws."""
        return await self._do("execute/async", {"script": _UNTIL % script, "args": list(arguments)})

    async def press(self, *keys: str) -> None:
        """Press and release keys, one after the other."""
        pressed = [{"type": each, "value": key} for key in keys for each in ("keyDown", "keyUp")]
        await self._do("actions", {"actions": [{"type": "key", "id": "keys", "actions": pressed}]})

    async def show(self, *, width: int, height: int = 900, theme: str = "light", motion: str = "no-preference") -> None:
        """Be a screen of that size, of somebody who likes that theme."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        await self._chrome("Emulation.setDeviceMetricsOverride", size)
        liked = [
            {"name": "prefers-color-scheme", "value": theme},
            {"name": "prefers-reduced-motion", "value": motion},
        ]
        await self._chrome("Emulation.setEmulatedMedia", {"features": liked})

    async def picture(self) -> bytes:
        """The whole page as a PNG."""
        told = await self._chrome("Page.captureScreenshot", {"captureBeyondViewport": True})
        return base64.b64decode(told["data"])

    async def complaints(self) -> list[str]:
        """What the console has said since the last time, but for information."""
        said = await self._do("se/log", {"type": "browser"})
        return [entry["message"] for entry in said if entry["level"] in {"WARNING", "SEVERE"}]

    async def end(self) -> None:
        await _ask(self._port, "DELETE", f"/session/{self._session}")

    async def _chrome(self, command: str, parameters: dict[str, Any]) -> Any:
        return await self._do("goog/cdp/execute", {"cmd": command, "params": parameters})

    async def _do(self, command: str, parameters: dict[str, Any]) -> Any:
        return await _ask(self._port, "POST", f"/session/{self._session}/{command}", parameters)


@asynccontextmanager
async def open_browser() -> AsyncIterator[Browser]:
    """A browser of its own, with nothing remembered; ended with the block."""
    async with trio.open_nursery() as nursery:
        command = ["chromedriver", "--port=0"]
        driver: trio.Process = await nursery.start(_run, command)
        try:
            port = await _port_of(driver)
            options = {"args": _OPTIONS, "binary": shutil.which("chromium")}
            wanted = {
                "goog:chromeOptions": options,
                "goog:loggingPrefs": {"browser": "ALL"},
                "timeouts": {"script": 30_000},
            }
            made = await _ask(port, "POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
            browser = Browser(port, made["sessionId"])
            try:
                yield browser
            finally:
                with trio.CancelScope(shield=True), trio.move_on_after(10):
                    await browser.end()
        finally:
            driver.kill()
            nursery.cancel_scope.cancel()


async def _run(command: list[str], *, task_status: trio.TaskStatus[trio.Process]) -> None:
    process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    task_status.started(process)
    with trio.CancelScope(shield=True):
        await process.wait()


async def _port_of(driver: trio.Process) -> int:
    said = ""
    assert driver.stdout is not None
    while (found := re.search(r"successfully on port (\d+)\.", said)) is None:
        said += (await driver.stdout.receive_some()).decode()
    return int(found[1])


async def _ask(port: int, method: str, path: str, parameters: dict[str, Any] | None = None) -> Any:
    """One command; the value of its answer."""
    http, answer = h11.Connection(h11.CLIENT), b""
    body = b"" if parameters is None else json.dumps(parameters).encode()
    headers = [("Host", f"127.0.0.1:{port}"), ("Content-Length", str(len(body))), ("Connection", "close")]
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        request = http.send(h11.Request(method=method, target=path, headers=headers)) or b""
        await stream.send_all(request + (http.send(h11.Data(data=body)) or b""))
        while not isinstance(found := http.next_event(), h11.EndOfMessage):
            if found is h11.NEED_DATA:
                http.receive_data(bytes(await stream.receive_some(65_536)))
            elif isinstance(found, h11.Data):
                answer += found.data
    value = json.loads(answer)["value"]
    if isinstance(value, dict) and "error" in value:
        raise RuntimeError(f"{value['error']}: {value['message'].splitlines()[0]}")
    return value
