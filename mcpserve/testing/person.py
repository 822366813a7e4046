"""Somebody at a browser without scripts, who logs in and allows a client everything."""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx2

from mcpserve import crypto

CLIENT_ID = "test-client"
CALLBACK = "http://127.0.0.1/callback"
"""Nobody listens there: the answer is read off the redirect."""


class Form(HTMLParser):
    """The first form of a page: where it goes, and what it sends if nobody touches it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.actions: list[str] = []
        self.fields: dict[str, list[str]] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect."""
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.actions.append(given.get("action", ""))
        is_sent = given.get("type") != "checkbox" or "checked" in given
        if tag == "input" and len(self.actions) == 1 and "name" in given and is_sent:
            self.fields.setdefault(given["name"], []).append(given.get("value", ""))


@dataclass(frozen=True)
class Person:
    """A user of the server."""

    name: str
    password: str = field(repr=False)

    async def allow(self, url: str, resource: str, scopes: Iterable[str]) -> str:
        """Allow the client these scopes, and return its access token (RFC 6749 §4.1).

        Raises :class:`httpx2.HTTPStatusError` if the server refuses.
        """
        verifier = secrets.token_urlsafe(32)
        query = {
            "response_type": "code",
            "client_id": CLIENT_ID,
            "redirect_uri": CALLBACK,
            "code_challenge": crypto.pkce_s256(verifier),
            "code_challenge_method": "S256",
            "scope": " ".join(sorted(scopes)),
            "resource": resource,
        }
        # Without TLS to check: loading the certificates takes longer than all the rest.
        async with httpx2.AsyncClient(base_url=url, verify=False, trust_env=False) as http:
            page = await followed(http, await http.get("/authorize", params=query))
            page = await sent(http, page, username=self.name, password=self.password)
            page = await sent(http, page, decision="approve")
            answer = parse_qs(urlsplit(page.headers["Location"]).query)
            form = {
                "grant_type": "authorization_code",
                "code": answer["code"][0],
                "code_verifier": verifier,
                "redirect_uri": CALLBACK,
                "client_id": CLIENT_ID,
            }
            tokens = (await http.post("/token", data=form)).raise_for_status().json()
        return str(tokens["access_token"])


async def sent(
    http: httpx2.AsyncClient, page: httpx2.Response, **filled_in: str
) -> httpx2.Response:
    """Send the first form of a page, and return where that leads."""
    form = Form(page.text)
    action = urljoin(str(page.url), form.actions[0])
    return await followed(http, await http.post(action, data=form.fields | filled_in))


async def followed(http: httpx2.AsyncClient, page: httpx2.Response) -> httpx2.Response:
    """Follow redirects as long as they stay on the server."""
    while page.is_redirect:
        location = urljoin(str(page.url), page.headers["Location"])
        if not location.startswith(str(http.base_url)):
            return page
        page = await http.get(location)
    return page.raise_for_status()
