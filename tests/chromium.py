"""Debian's Chromium behind its ChromeDriver, spoken to in the WebDriver protocol (W3C)."""

import asyncio
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Self

import httpx

PACKAGES = ("chromium", "chromium-driver")
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
ARGUMENTS = [
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Nothing but this machine has an address.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1 , EXCLUDE localhost",
]
WITHOUT_SCRIPTS = {"profile.managed_default_content_settings.javascript": 2}


def is_installed() -> bool:
    """Whether browser and driver are there."""
    return bool(shutil.which("chromium") and shutil.which("chromedriver"))


def can_be_installed() -> bool:
    """Whether this user may install Debian's packages."""
    return bool(shutil.which("apt-get")) and os.geteuid() == 0


def install(packages: Iterable[str] = PACKAGES) -> None:
    """Install both, or others. Raises :class:`subprocess.CalledProcessError`."""
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
        subprocess.run(["apt-get", "--quiet", *command], check=True, env=environment, timeout=600)


WATCHED = {"goog:loggingPrefs": {"performance": "ALL"}}
"""The capability that :meth:`Chromium.asked_for` needs."""


@contextmanager
def browser(*, scripts: bool = False, **capabilities: Any) -> Iterator[str]:
    """Run a browser, without scripts by default; yield what a :class:`Chromium` is made of."""
    options = {
        "binary": shutil.which("chromium"),
        "args": ARGUMENTS + (["--no-sandbox"] if os.geteuid() == 0 else []),
        "prefs": {} if scripts else WITHOUT_SCRIPTS,
    }
    capabilities["goog:chromeOptions"] = options
    wanted = {"capabilities": {"alwaysMatch": capabilities}}
    with _driver() as url, httpx.Client(base_url=url, timeout=60) as http:
        session = _value(http.post("/session", json=wanted))["sessionId"]
        try:
            yield f"{url}/session/{session}"
        finally:
            http.delete(f"/session/{session}")


@contextmanager
def _driver() -> Iterator[str]:
    command = ["chromedriver", "--port=0", "--log-level=SEVERE"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            lines = iter(process.stdout or ())
            ports = (re.search(r"successfully on port (\d+)", line) for line in lines)
            port = next(found.group(1) for found in ports if found)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


class Chromium:
    """The window of a browser."""

    def __init__(self, browser_url: str) -> None:
        self.http = httpx.AsyncClient(base_url=browser_url, timeout=60)

    async def __aenter__(self) -> Self:
        """Take it."""
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Leave it to the next."""
        await self.http.aclose()

    async def open(self, url: str) -> None:
        """Go to a page and wait until it is loaded."""
        await self._post("url", url=url)

    async def fill(self, **fields: str) -> None:
        """Type into fields, found by their names."""
        for name, text in fields.items():
            element = await self._find(f"[name={name}]")
            await self._post(f"element/{element}/clear")
            await self._post(f"element/{element}/value", text=text)

    async def click(self, selector: str) -> str:
        """Click, and wait for nothing."""
        element = await self._find(selector)
        await self._post(f"element/{element}/click")
        return element

    async def asked_for(self, start: str) -> str:
        """Wait until the browser asks for a page whose address starts so; return the address."""
        async with asyncio.timeout(20):
            while True:
                for entry in await self._post("se/log", type="performance"):
                    message = json.loads(entry["message"])["message"]
                    address = str(message["params"].get("documentURL", ""))
                    if address.startswith(start):
                        return address
                await asyncio.sleep(0.02)

    async def press(self, selector: str = "button") -> None:
        """Click, and wait until there is another page."""
        element = await self.click(selector)
        async with asyncio.timeout(20):
            while not (await self.http.get(f"element/{element}/name")).is_error:
                await asyncio.sleep(0.02)

    async def style(self, selector: str, name: str) -> str:
        """Return a computed style."""
        return str(await self._get(f"element/{await self._find(selector)}/css/{name}"))

    async def enter_frame(self, selector: str) -> None:
        """Look into a frame."""
        await self._post("frame", id={ELEMENT: await self._find(selector)})

    async def leave_frame(self) -> None:
        """Look at the whole page again."""
        await self._post("frame", id=None)

    async def run(self, script: str) -> Any:
        """Run a script in the page, or in the frame; return what it returns."""
        return await self._post("execute/sync", script=script, args=[])

    async def source(self) -> str:
        """Return the page, or the frame, as it is now."""
        return str(await self._get("source"))

    async def text(self, selector: str = "body") -> str:
        """Return the text that can be seen."""
        return str(await self._get(f"element/{await self._find(selector)}/text"))

    async def url(self) -> str:
        """Return what the address bar shows."""
        return str(await self._get("url"))

    async def _find(self, selector: str) -> str:
        found = await self._post("element", using="css selector", value=selector)
        return str(found[ELEMENT])

    async def _get(self, path: str) -> Any:
        return _value(await self.http.get(path))

    async def _post(self, path: str, **values: Any) -> Any:
        return _value(await self.http.post(path, json=values))


def _value(response: httpx.Response) -> Any:
    value = response.json()["value"]
    if response.is_error:
        raise RuntimeError(f"{value['error']}: {value['message']}")
    return value
