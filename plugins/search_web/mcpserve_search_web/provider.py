"""What a search service is to this plugin, and the types of settings that several share."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, Protocol
from urllib.parse import urlsplit

import httpx
from pydantic import AfterValidator, SecretStr

from mcpserve import __version__
from mcpserve_search_web.results import Found

USER_AGENT = f"mcpserve/{__version__} httpx/{httpx.__version__}"

CONFIG = "plugins.search_web.config"
"""Where the operator finds the settings that messages speak of."""

TimeRange = Literal["day", "week", "month", "year"]


@dataclass(frozen=True)
class Search:
    """What is searched for. A provider is asked only for filters that it says it has."""

    query: str
    limit: int
    time_range: TimeRange | None = None
    """Only what was published or changed in this time."""
    domains: Sequence[str] = ()
    """Only pages of these hosts and of those below them; the results are checked again."""

    @property
    def with_sites(self) -> str:
        """The query with the domains as operators, for a service that has no other filter."""
        sites = " OR ".join(f"site:{domain}" for domain in self.domains)
        if len(self.domains) > 1:
            sites = f"({sites})"
        return f"{self.query} {sites}".rstrip()


class Provider(Protocol):
    """A search service: a frozen model that holds its settings and knows its format.

    It does no error handling: :func:`mcpserve_search_web.upstream.ask` does it for all.
    """

    coverage: ClassVar[str]
    """One sentence for the model: what is searched."""
    longest_query: ClassVar[int]
    """In characters."""
    filters: ClassVar[frozenset[str]]
    """Which of ``time_range`` and ``domains`` it has."""

    async def ask(self, http: httpx.AsyncClient, search: Search) -> httpx.Response:
        """Send the search. Lets the exceptions of httpx through."""

    def found(self, body: bytes) -> list[Found]:
        """Read a successful answer, best match first.

        Raises pydantic's ``ValidationError``, or :class:`~mcpserve.ToolError` if the service says
        in a successful answer that it failed.
        """

    def advice(self, response: httpx.Response) -> str:
        """Return what to do about a failure that means something special here, or nothing."""


def parse_base_url(value: str) -> str:
    """``http(s)://host[:port][/path]``; a slash at the end is forgiven."""
    if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", value):
        raise ValueError(
            "must be like https://search.example.org, without user, query and fragment"
        )
    urlsplit(value).port  # noqa: B018 - raises ValueError for a port that is no number
    return value.rstrip("/")


def parse_api_key(value: SecretStr) -> SecretStr:
    """Refuse what cannot be sent: the error of the HTTP library would show the key."""
    key = value.get_secret_value().strip()
    if not re.fullmatch(r"[!-~]+", key):
        raise ValueError("must not be empty and has printable ASCII without spaces only")
    return SecretStr(key)


BaseUrl = Annotated[str, AfterValidator(parse_base_url)]
ApiKey = Annotated[SecretStr, AfterValidator(parse_api_key)]
