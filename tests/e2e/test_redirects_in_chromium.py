"""Answers on their way to clients that a real browser may not want to go to."""

import datetime
import ssl
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlencode, urlsplit

import chromium
import pytest
from chromium import WATCHED, Chromium
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from serving import PASSWORD, PUBLIC_CLIENT, USER, Flow, serving
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

APP = "com.example.app:/oauth"
EDITOR = "cursor://anysphere.cursor-mcp/oauth/callback"


@pytest.fixture
def browser():
    """A browser that tells where it goes, and takes a certificate that nobody signed.

    A new one each time: after handing an address to another program one does not go on for sure.
    """
    if not chromium.is_installed():
        if not chromium.can_be_installed():
            pytest.skip("there is no chromium with chromedriver, and only root could install them")
        chromium.install()
    with chromium.browser(acceptInsecureCerts=True, **WATCHED) as url:
        yield url


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate of localhost, and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


class ClientHandler(RequestHandler):
    """The callback of a client: a page, or a redirect."""

    def get(self):
        if self.settings["next"]:
            self.redirect(self.settings["next"])
        else:
            self.finish("<p>Connected</p>")


@asynccontextmanager
async def web_client(certificate, then=None):
    """Serve a client over TLS; yield its callback."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    server = HTTPServer(Application([(".*", ClientHandler)], next=then), ssl_options=tls)
    sockets = bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    try:
        yield f"https://localhost:{sockets[0].getsockname()[1]}/callback"
    finally:
        server.stop()
        await server.close_all_connections()


@asynccontextmanager
async def at_consent(dsn, window, redirect_uri):
    """Bring a browser to the consent page of a client with this callback; yield the flow."""
    client = {"id": PUBLIC_CLIENT, "redirect_uris": [redirect_uri]}
    async with serving(dsn, {"oauth": {"clients": {"configured": [client]}}}) as server:
        flow = Flow(server, redirect_uri=redirect_uri)
        await window.open(f"{server.url}/authorize?{urlencode(flow.parameters())}")
        await window.fill(username=USER, password=PASSWORD)
        await window.press()
        yield flow


def told(address):
    """Return what an answer says."""
    return {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}


@pytest.mark.proves("CO-10", "CO-11")
async def test_the_answer_reaches_a_client_over_tls(dsn, browser, certificate):
    async with (
        web_client(certificate) as uri,
        Chromium(browser) as window,
        at_consent(dsn, window, uri) as flow,
    ):
        await window.press("[value=approve]")
        assert await window.text() == "Connected"
        address = await window.url()
        assert address.startswith(f"{uri}?code=")
        assert (await flow.exchange(told(address)["code"])).status_code == 200


@pytest.mark.proves("CO-10", "CO-11")
@pytest.mark.parametrize("uri", [APP, EDITOR], ids=["application", "editor"])
@pytest.mark.parametrize("button", ["approve", "deny"])
async def test_the_answer_is_handed_to_another_program(dsn, browser, uri, button):
    async with Chromium(browser) as window, at_consent(dsn, window, uri) as flow:
        await window.click(f"[value={button}]")
        answer = told(await window.asked_for(f"{uri}?"))
        assert answer["state"] == "the state"
        if button == "deny":
            assert answer["error"] == "access_denied"
        else:
            assert (await flow.exchange(answer["code"])).status_code == 200


@pytest.mark.proves("CO-10", "CO-11")
async def test_the_answer_reaches_a_client_that_goes_on_to_another_program(
    dsn, browser, certificate
):
    async with (
        web_client(certificate, then=f"{APP}?done") as uri,
        Chromium(browser) as window,
        at_consent(dsn, window, uri),
    ):
        await window.click("[value=approve]")
        assert await window.asked_for(f"{APP}?") == f"{APP}?done"
