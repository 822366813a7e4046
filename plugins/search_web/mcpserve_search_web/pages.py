"""Getting a page from wherever a model points: every address is checked, before every redirect."""

import asyncio
import logging
from ipaddress import IPv4Network, IPv6Network
from urllib.parse import quote

import httpx
from tornado.netutil import Resolver

from mcpserve import ToolError
from mcpserve.fetch import Address, Fetcher, FetchError, NoAddress, Response, is_public
from mcpserve_search_web.config import Fetching
from mcpserve_search_web.extraction import Page
from mcpserve_search_web.upstream import wait

MAX_REDIRECTS = 5

REDIRECTS = frozenset({301, 302, 303, 307, 308})

PORTS = {"http": 80, "https": 443}

ACCEPT = "text/html, application/xhtml+xml, text/*;q=0.9, application/json;q=0.9, */*;q=0.1"

REFUSALS = {
    401: "it wants a login, which this tool cannot give: use another source",
    402: "it wants to be paid: use another source",
    403: "it refuses access, perhaps to programs or without a login: use another source",
    404: "there is no such page: check the URL or search for it",
    406: "it has the page in other formats only: use another source",
    410: "the page was removed: search for another",
    451: "it may not show the page for legal reasons: use another source",
}

logger = logging.getLogger(__name__)


class Pages:
    """Gets pages within the limits that the operator set. Close it at the end."""

    def __init__(self, settings: Fetching, *, resolver: Resolver | None = None) -> None:
        self._settings = settings
        self._fetcher = Fetcher(
            resolver=resolver,
            is_allowed=lambda address: is_allowed(address, settings.private_networks),
            schemes=tuple(PORTS),
            timeout=settings.timeout,
        )

    def close(self) -> None:
        """Give up what runs."""
        self._fetcher.close()

    async def get(self, text: str) -> Page:
        """Return the page of a URL that somebody wrote. Raises :class:`ToolError`."""
        try:
            async with asyncio.timeout(self._settings.timeout):
                return await self._follow(self._checked(text))
        except TimeoutError:
            raise ToolError(
                f"{text[:200]} did not answer within {self._settings.timeout:g} s: try again later "
                "or use another source."
            ) from None

    async def _follow(self, url: str) -> Page:
        for _ in range(MAX_REDIRECTS + 1):
            response = await self._ask(url)
            location = response.headers.get("Location")
            if response.status not in REDIRECTS or not location:
                return page(url, response)
            url = self._checked(location, base=url)
        raise ToolError(f"{url} is one redirect too many: use another source.")

    async def _ask(self, url: str) -> Response:
        headers = {
            "User-Agent": self._settings.user_agent,
            "Accept": ACCEPT,
            "Accept-Encoding": "gzip",
        }
        try:
            return await self._fetcher.get(url, max_bytes=self._settings.max_bytes, headers=headers)
        except NoAddress as error:
            # Told the same whether a name is unknown or private: nobody shall explore a network.
            logger.info("fetch asks nobody: %s", error)
            raise ToolError(
                f"{url} has no public address: check the URL. Hosts of private networks are read "
                "only if the operator allows it (fetch.private_networks)."
            ) from error
        except FetchError as error:
            raise ToolError(f"{url} cannot be read: {error}.") from error

    def _checked(self, text: str, *, base: str = "") -> str:
        """Return a URL of http or https in its strict form. Raises :class:`ToolError`."""
        try:
            url = httpx.URL(base).join(text.strip()) if base else httpx.URL(text.strip())
            authority, host, port = url.netloc.decode(), url.host, url.port
        except (httpx.InvalidURL, ValueError) as error:
            raise ToolError(
                f"Not a URL: {text[:200]}. Give the id or url of a search result."
            ) from error
        if url.scheme not in PORTS or not host:
            raise ToolError(
                f"{text[:200]} is no URL of http or https: give the id of a search result."
            )
        if url.userinfo:
            raise ToolError("A URL with a user name or password is not read: leave them out.")
        if (port or PORTS[url.scheme]) not in self._settings.ports:
            raise ToolError(f"Port {port} is not read: only the operator can allow it.")
        target = quote(url.raw_path, safe="!$%&'()*+,-./:;=?@_~")
        return f"{url.scheme}://{authority}{target}"


def is_allowed(address: Address, private: tuple[IPv4Network | IPv6Network, ...]) -> bool:
    """Whether the address is public or in a network that the operator named."""
    return is_public(address) or any(address in network for network in private)


def page(url: str, response: Response) -> Page:
    """Return the page that was answered. Raises :class:`ToolError` for any status but 200."""
    status, headers = response.status, response.headers
    if status in (429, 503):
        raise ToolError(
            f"{url} answered HTTP {status}: {wait(headers.get('Retry-After', ''))} and try again, "
            "or use another source."
        )
    if status != 200:
        todo = REFUSALS.get(status, "use another source, or try again later")
        raise ToolError(f"{url} answered HTTP {status}: {todo}.")
    return Page(
        url=url,
        content_type=headers.get("Content-Type", ""),
        content_encoding=headers.get("Content-Encoding", ""),
        body=response.body,
    )
