"""A host of MCP Apps (SEP-1865) in a browser: frames a page and talks to it as a host must."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from chromium import Chromium
from mcp_client import McpClient
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

HOST = """<!doctype html>
<title>Host</title>
<link rel="icon" href="data:,">
<style>html { background: BACKGROUND } iframe { border: 0; width: WIDTHpx; height: 20px }</style>
<iframe sandbox="allow-scripts" src="/page"></iframe>
<script>
"use strict";
const frame = document.querySelector("iframe");
const messages = [];
const complaints = [];
const send = (message) => frame.contentWindow.postMessage({ jsonrpc: "2.0", ...message }, "*");
const answers = {
  "ui/initialize": () => ({
    protocolVersion: "2026-01-26",
    hostInfo: { name: "tests", version: "1" },
    hostCapabilities: CAPABILITIES,
    hostContext: CONTEXT,
  }),
  "tools/call": async (params) => {
    const response = await fetch("/call", { method: "POST", body: JSON.stringify(params) });
    return response.json();
  },
  "ui/open-link": () => ({}),
};
window.addEventListener("message", async ({ source, data }) => {
  if (source !== frame.contentWindow) return;
  if (data.complaint) {
    complaints.push(data.complaint);
    return;
  }
  messages.push(data);
  if (data.method === "ui/notifications/size-changed") {
    frame.style.height = `${data.params.height}px`;
  }
  if (data.method && data.id !== undefined) {
    const answer = answers[data.method];
    const error = { code: -32601, message: "no such method" };
    send(answer ? { id: data.id, result: await answer(data.params) } : { id: data.id, error });
  }
});
</script>
"""


WATCH = """<script>{
  const tell = (complaint) => window.parent.postMessage({ complaint }, "*");
  window.addEventListener("error", ({ message }) => tell(message ?? "a picture is missing"), true);
  window.addEventListener("unhandledrejection", ({ reason }) => tell(String(reason)));
  document.addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) =>
    tell(`${violatedDirective}: ${blockedURI}`));
}</script>"""
"""Tells the host what a browser tells of a frame in its console only."""


def policy(csp: Mapping[str, list[str]]) -> str:
    """Return the Content-Security-Policy that a host makes of a page's metadata."""

    def domains(name: str) -> str:
        return " ".join(csp.get(name, []))

    resources = domains("resourceDomains")
    directives = {
        "default-src": "'none'",
        "script-src": f"'self' 'unsafe-inline' {resources}",
        "style-src": f"'self' 'unsafe-inline' {resources}",
        "connect-src": f"'self' {domains('connectDomains')}",
        "img-src": f"'self' data: {resources}",
        "font-src": f"'self' {resources}",
        "media-src": f"'self' data: {resources}",
        "frame-src": domains("frameDomains") or "'none'",
        "object-src": "'none'",
        "base-uri": domains("baseUriDomains") or "'self'",
    }
    return "; ".join(f"{name} {value.strip()}" for name, value in directives.items())


@dataclass
class Host:
    """The page of a host in a window; the frame in it is the page of the app."""

    window: Chromium
    client: McpClient
    url: str
    page: dict[str, Any]
    """The page as ``resources/read`` gave it."""
    asked: list[dict[str, Any]] = field(default_factory=list)
    """The parameters of each call that the app made, oldest first."""
    shape: dict[str, str] = field(default_factory=dict)

    async def show(
        self,
        *,
        theme: str = "light",
        capabilities: Mapping[str, Any] | None = None,
        width: int = 640,
    ) -> None:
        """Frame the page; return when it has introduced itself."""
        capabilities = {"serverTools": {}} if capabilities is None else capabilities
        self.shape = {
            "BACKGROUND": "#101214" if theme == "dark" else "#e8ebef",
            "WIDTH": str(width),
            "CAPABILITIES": json.dumps(capabilities),
            "CONTEXT": json.dumps({"theme": theme, "displayMode": "inline"}),
        }
        await self.window.open(self.url)
        await self.told("ui/notifications/initialized")

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Call the tool and tell the page of it, as for a call of the model."""
        await self.tell("tool-input", arguments=arguments)
        result = await self.result_of(tool, arguments)
        await self.tell("tool-result", **result)
        return result

    async def result_of(self, tool: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Call the tool on the server."""
        answer = await self.client.call(tool, **arguments)
        result: dict[str, Any] = answer.json()["result"]
        return result

    async def tell(self, notification: str, **params: Any) -> None:
        """Send the page a notification."""
        message = {"method": f"ui/notifications/{notification}", "params": params}
        await self.run(f"send({json.dumps(message)})")

    async def messages(self) -> list[dict[str, Any]]:
        """Return what the page has sent, oldest first."""
        sent: list[dict[str, Any]] = await self.run("return messages")
        return sent

    async def complaints(self) -> list[str]:
        """Return every error in the page, and whatever it did that its policy forbids."""
        found: list[str] = await self.run("return complaints")
        return found

    async def told(self, method: str) -> dict[str, Any]:
        """Wait for a message of the page; return the last of this method."""
        async with asyncio.timeout(10):
            while True:
                found = [each for each in await self.messages() if each.get("method") == method]
                if found:
                    return found[-1]
                await asyncio.sleep(0.02)

    async def run(self, script: str) -> Any:
        """Run a script of the host."""
        await self.window.leave_frame()
        return await self.window.run(script)

    async def in_page(self, script: str) -> Any:
        """Run a script of the page."""
        await self.window.leave_frame()
        await self.window.enter_frame("iframe")
        return await self.window.run(script)

    async def text(self, selector: str = "body") -> str:
        """Return the text of the page that can be seen."""
        await self.window.leave_frame()
        await self.window.enter_frame("iframe")
        return await self.window.text(selector)

    async def shows(self, *words: str) -> str:
        """Wait until all of this can be seen on the page; return its text."""
        for _ in range(100):
            text = await self.text()
            if all(word in text for word in words):
                return text
            await asyncio.sleep(0.02)
        raise AssertionError(f"{words} are not all in {text!r}")

    async def click(self, selector: str) -> None:
        """Click on something of the page."""
        await self.window.leave_frame()
        await self.window.enter_frame("iframe")
        await self.window.click(selector)


class HostHandler(RequestHandler):
    """The page of the host."""

    def initialize(self, host: Host) -> None:
        """Serve this host."""
        self.host = host

    def get(self) -> None:
        """Answer."""
        html = HOST
        for name, value in self.host.shape.items():
            html = html.replace(name, value)
        self.finish(html)


class PageHandler(HostHandler):
    """The page of the app, kept in as its metadata say."""

    def get(self) -> None:
        """Answer."""
        self.set_header("Content-Security-Policy", policy(self.host.page["_meta"]["ui"]["csp"]))
        self.finish(
            re.sub("(?i)<!doctype html>", lambda found: found[0] + WATCH, self.host.page["text"])
        )


class CallHandler(HostHandler):
    """Calls of tools by the page."""

    async def post(self) -> None:
        """Pass one on to the server."""
        params = json.loads(self.request.body)
        self.host.asked.append(params)
        self.finish(await self.host.result_of(params["name"], params["arguments"]))


@asynccontextmanager
async def hosting(window: Chromium, client: McpClient, uri: str) -> AsyncIterator[Host]:
    """Read a page from the server and serve a host for it."""
    answer = await client.post(client.message("resources/read", {"uri": uri}))
    (page,) = answer.json()["result"]["contents"]
    sockets = bind_sockets(0, "127.0.0.1")
    host = Host(window, client, f"http://127.0.0.1:{sockets[0].getsockname()[1]}/", page)
    paths = {"/": HostHandler, "/page": PageHandler, "/call": CallHandler}
    routes = [(path, handler, {"host": host}) for path, handler in paths.items()]
    server = HTTPServer(Application(routes))
    server.add_sockets(sockets)
    try:
        yield host
    finally:
        server.stop()
        await server.close_all_connections()
