"""Hosts that publish documents of clients: TLS on loopback, whatever their names are."""

import asyncio
import json
from contextlib import asynccontextmanager
from ipaddress import ip_address

from tls import Names, https
from tornado.web import Application, RequestHandler

from mcpserve.fetch import Fetcher

LOOPBACK = ip_address("127.0.0.1")
HOSTS = ("chatgpt.com", "claude.ai", "vscode.dev", "client.example", "other.example")

CHATGPT = "https://chatgpt.com/oauth/client.json"
CLAUDE = "https://claude.ai/oauth/mcp-oauth-client-metadata"
CLAUDE_CODE = "https://claude.ai/oauth/claude-code-client-metadata"
VSCODE = "https://vscode.dev/oauth/client-metadata.json"
CLIENT = "https://client.example/oauth/client.json"
CALLBACK = "https://client.example/callback"

PUBLISHED = {
    CHATGPT: {
        "client_id": CHATGPT,
        "client_name": "ChatGPT",
        "client_uri": "https://chatgpt.com",
        "logo_uri": "https://chatgpt.com/logo.png",
        "redirect_uris": ["https://chatgpt.com/connector_platform_oauth_redirect"],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "private_key_jwt",
        "token_endpoint_auth_methods_supported": ["none", "private_key_jwt"],
        "token_endpoint_auth_signing_alg": "RS256",
        "jwks_uri": "https://chatgpt.com/oauth/jwks.json",
    },
    CLAUDE: {
        "client_id": CLAUDE,
        "client_name": "Claude",
        "client_uri": "https://claude.ai",
        "redirect_uris": ["https://claude.ai/api/mcp/auth_callback"],
        "grant_types": [
            "authorization_code",
            "refresh_token",
            "urn:ietf:params:oauth:grant-type:jwt-bearer",
        ],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
    },
    CLAUDE_CODE: {
        "client_id": CLAUDE_CODE,
        "client_name": "Claude Code",
        "redirect_uris": ["http://localhost/callback", "http://127.0.0.1/callback"],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
    },
    VSCODE: {
        "client_id": VSCODE,
        "client_name": "Visual Studio Code",
        "client_uri": "https://code.visualstudio.com",
        "redirect_uris": ["http://127.0.0.1:33418/", "https://vscode.dev/redirect"],
        "grant_types": [
            "authorization_code",
            "refresh_token",
            "urn:ietf:params:oauth:grant-type:device_code",
        ],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
        "application_type": "native",
    },
    CLIENT: {"client_id": CLIENT, "client_name": "Client", "redirect_uris": [CALLBACK]},
}


class Publisher:
    """All of these hosts at once; a document may be changed while they run."""

    def __init__(self):
        self.documents = {url: dict(document) for url, document in PUBLISHED.items()}
        """What is published by URL: JSON, or bytes as they are."""
        self.status = 200
        self.headers = {}
        self.requests = []
        """The URLs that were asked for."""
        self.answering = asyncio.Event()
        self.answering.set()
        self.fetcher = None

    @property
    def asked(self):
        """The names of hosts that were looked up."""
        return self.fetcher.names.asked


@asynccontextmanager
async def publishing(authority):
    """Run a :class:`Publisher`; its ``fetcher`` reaches it and nothing else."""
    publisher = Publisher()

    class Document(RequestHandler):
        async def get(self):
            url = f"https://{self.request.host}{self.request.uri}"
            publisher.requests.append(url)
            await publisher.answering.wait()
            document = publisher.documents.get(url)
            self.set_status(publisher.status if url in publisher.documents else 404)
            self.set_header("Content-Type", "application/json")
            for name, value in publisher.headers.items():
                self.set_header(name, value)
            self.finish(document if isinstance(document, bytes) else json.dumps(document))

    application = Application([(".*", Document)], log_function=lambda handler: None)
    async with https(application, authority.context(*HOSTS)) as port:
        publisher.fetcher = fetcher(authority, port)
        yield publisher
        publisher.answering.set()


def fetcher(authority, port):
    """Return a fetcher for which every host is this port of loopback."""
    names = Names(["127.0.0.1"], port=port)
    found = Fetcher(
        resolver=names, is_allowed=LOOPBACK.__eq__, ca_certs=authority.ca_certs, timeout=2
    )
    found.names = names
    return found


def clients(hosts=("client.example",), **sections):
    """Return settings that let in documents of these hosts beside those of the presets."""
    published = {"metadata_documents": {"hosts": list(hosts)}}
    return {"oauth": {"clients": published | sections}}


async def forget_freshness(db):
    """Let every copy be a day old."""
    await db.execute(
        """UPDATE oauth_documents SET fetched_at = fetched_at - interval '1 day',
                  fresh_until = fetched_at - interval '1 day'"""
    )
