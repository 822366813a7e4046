"""What a search service is to this plugin, and the types of settings that several share."""

import re
from typing import Annotated, ClassVar, Protocol
from urllib.parse import urlsplit

import httpx
from pydantic import AfterValidator, SecretStr

from mcpserve import __version__
from mcpserve_search_web.results import Found

USER_AGENT = f"mcpserve/{__version__} httpx/{httpx.__version__}"

CONFIG = "plugins.search_web.config"
"""Where the operator finds the settings that messages speak of."""


class Provider(Protocol):
    """A search service: a frozen model that holds its settings and knows its format.

    It does no error handling: :func:`mcpserve_search_web.upstream.fetch` does it for all.
    """

    coverage: ClassVar[str]
    """One sentence for the model: what is searched."""
    longest_query: ClassVar[int]
    """In characters."""

    async def ask(self, http: httpx.AsyncClient, query: str, *, limit: int) -> httpx.Response:
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
