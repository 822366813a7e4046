"""The pages in a real browser: what its rules for frames and forms make of them."""

from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlencode, urlsplit

import chromium
import pytest
from chromium import Chromium
from notes import notes, withheld
from serving import PASSWORD, PUBLIC_CLIENT, USER, Flow, serving
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from mcpserve.oauth import users


@pytest.fixture(scope="session")
def browser():
    """A browser for all tests: each has a server of its own, which knows no cookie yet."""
    if not chromium.is_installed():
        if not chromium.can_be_installed():
            pytest.skip("there is no chromium with chromedriver, and only root could install them")
        chromium.install()
    with chromium.browser() as url:
        yield url


class ClientHandler(RequestHandler):
    """A client's web server, or a page that frames another."""

    def get(self):
        self.settings["reached"].append(self.request.uri)
        if self.settings["next"]:
            self.redirect(self.settings["next"])
            return
        frame = self.get_query_argument("frame", "")
        self.finish(
            "<title>Client</title><p>Connected</p><script>document.title = 'Script'</script>"
            + (f'<iframe src="{frame}"></iframe>' if frame else "")
        )


@asynccontextmanager
async def web_client(then=None):
    """Serve a client on a free port; yield the port and the addresses that were asked for."""
    reached = []
    server = HTTPServer(Application([(".*", ClientHandler)], reached=reached, next=then))
    sockets = bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    try:
        yield sockets[0].getsockname()[1], reached
    finally:
        server.stop()
        await server.close_all_connections()


def one_client(redirect_uri):
    """Settings with one client."""
    return {
        "oauth": {
            "clients": {"configured": [{"id": PUBLIC_CLIENT, "redirect_uris": [redirect_uri]}]}
        }
    }


def link(server, redirect_uri):
    """Return the address that a client sends a person to."""
    parameters = Flow(server, redirect_uri=redirect_uri).parameters()
    return f"{server.url}/authorize?{urlencode(parameters)}"


async def log_in(window):
    await window.fill(username=USER, password=PASSWORD)
    await window.press()


def answers(reached):
    """Return what the callback was told."""
    return [
        {name: values[0] for name, values in parse_qs(urlsplit(uri).query).items()}
        for uri in reached
        if uri.startswith("/callback")
    ]


@pytest.mark.proves("CO-10", "CO-11")
@pytest.mark.parametrize(
    ("registered", "asked"),
    [
        ("http://localhost:{port}/callback", "http://localhost:{port}/callback"),
        ("http://127.0.0.1/callback", "http://127.0.0.1:{port}/callback"),
    ],
    ids=["a client of another site", "a loopback client"],
)
async def test_the_answer_reaches_the_client(dsn, browser, registered, asked):
    async with web_client() as (port, reached), Chromium(browser) as window:
        uri = asked.format(port=port)
        async with serving(dsn, one_client(registered.format(port=port))) as server:
            await window.open(link(server, uri))
            await log_in(window)
            await window.press("[value=approve]")
            assert "Connected" in await window.text()
            await window.open(link(server, uri))
            await window.press("[value=deny]")
            assert (await window.url()).startswith(uri)
            approved, denied = answers(reached)
            assert (approved["state"], denied["state"]) == ("the state", "the state")
            assert denied["error"] == "access_denied"
            flow = Flow(server, redirect_uri=uri)
            assert (await flow.exchange(approved["code"])).status_code == 200


@pytest.mark.proves("CO-11")
async def test_the_answer_reaches_a_client_that_goes_on_to_another_origin(dsn, browser):
    async with (
        web_client() as (last_port, last),
        web_client(f"http://127.0.0.1:{last_port}/done") as (port, reached),
        Chromium(browser) as window,
    ):
        uri = f"http://localhost:{port}/callback"
        async with serving(dsn, one_client(uri)) as server:
            await window.open(link(server, uri))
            await log_in(window)
            await window.press("[value=approve]")
            assert await window.url() == f"http://127.0.0.1:{last_port}/done"
            assert "code" in answers(reached)[0]
            assert "/done" in last


@pytest.mark.proves("CO-10")
async def test_the_answer_reaches_the_client_right_from_the_login(dsn, browser):
    async with web_client() as (port, reached), Chromium(browser) as window:
        uri = f"http://localhost:{port}/callback"
        settings = one_client(uri)
        settings["oauth"]["auto_approve"] = True
        async with serving(dsn, settings) as server:
            await window.open(link(server, uri))
            await log_in(window)
            assert "Connected" in await window.text()
            assert "code" in answers(reached)[0]


@pytest.mark.proves("CO-09")
async def test_no_page_can_be_framed(dsn, browser):
    async with web_client() as (port, _), Chromium(browser) as window:
        uri = f"http://localhost:{port}/callback"
        async with serving(dsn, one_client(uri)) as server:
            await window.open(link(server, uri))
            login = await window.url()
            await log_in(window)
            assert "Allow" in await window.text()
            consent = await window.url()
            # A page of the same host but another port: it is another origin, and gets the cookie.
            outside = f"http://127.0.0.1:{port}/"
            for page in (consent, login, f"{server.url}/", f"{server.url}/setup"):
                await window.open(f"{outside}?{urlencode({'frame': page})}")
                await window.enter_frame("iframe")
                assert "<main>" not in await window.source(), page
                await window.leave_frame()
            await window.open(f"{outside}?{urlencode({'frame': uri})}")
            await window.enter_frame("iframe")
            assert "Connected" in await window.source()


async def test_everything_works_without_scripts(dsn, browser):
    async with web_client() as (port, reached), Chromium(browser) as window:
        uri = f"http://localhost:{port}/callback"
        async with serving(dsn, one_client(uri), with_user=False) as server:
            token = await users.new_setup_link(server.db)
            await window.open(f"{server.url}/setup?token={token}")
            await window.fill(username=USER, password=PASSWORD, password_again=PASSWORD + "x")
            await window.press()
            assert "The two passwords differ." in await window.text()
            await window.fill(password=PASSWORD, password_again=PASSWORD)
            await window.press()
            assert f"Welcome, {USER}" in await window.text()
            await window.open(link(server, uri))
            await window.fill(username=USER, password="wrong")
            await window.press()
            assert "Wrong name or password." in await window.text()
            await log_in(window)
            await window.press("button.plain")
            assert "Log in" in await window.text("h1")
            await log_in(window)
            await window.press("[value=approve]")
            assert "code" in answers(reached)[0]
            assert "<title>Client</title>" in await window.source()


async def test_tools_are_unticked_without_scripts_at_consent_and_later(dsn, browser):
    async with web_client() as (port, reached), Chromium(browser) as window:
        uri = f"http://localhost:{port}/callback"
        async with serving(dsn, one_client(uri), made=notes()) as server:
            await window.open(link(server, uri))
            await log_in(window)
            await window.click("[value=wipe]")
            await window.press("[value=approve]")
            code = answers(reached)[0]["code"]
            await Flow(server, redirect_uri=uri).exchange(code)
            assert await withheld(server) == [{"wipe"}]
            await window.open(f"{server.url}/")
            await window.press("a")
            assert "3 tools, 1 destructive, 1 not allowed" in await window.text("section")
            await window.click("section [value=wipe]")
            await window.click("section [value=look]")
            await window.press("section [value=save]")
            assert "Saved." in await window.text()
            assert "3 tools, 1 destructive, 1 not allowed" in await window.text("section")
            assert await withheld(server) == [{"look"}]
            await window.press("section [value=disconnect]")
            assert "None yet." in await window.text()


async def test_the_style_sheet_is_used(dsn, browser):
    async with serving(dsn) as server, Chromium(browser) as window:
        await window.open(f"{server.url}/")
        assert await window.style("main", "border-top-style") == "solid"
