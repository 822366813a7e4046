"""SearXNG: the JSON format of an instance's ``/search``."""

from typing import ClassVar

import httpx
from pydantic import BaseModel, Field

from mcpserve import ToolError
from mcpserve_search_web.provider import BaseUrl, Search
from mcpserve_search_web.results import Found, plain_text

ADVICE = {
    403: "the operator of that instance must enable json in search.formats of its settings.yml",
    429: "its limiter lets few searches by programs through, the operator of that instance must "
    "put this server on its pass list or switch server.limiter off",
}


class SearXNG(BaseModel, extra="forbid", frozen=True):
    """An instance of the metasearch engine SearXNG, best one's own."""

    coverage: ClassVar[str] = "The web is searched, through a SearXNG instance."
    # The service has no limit; as part of a URL, 400 characters fit into 4 KiB.
    longest_query: ClassVar[int] = 400
    filters: ClassVar[frozenset[str]] = frozenset({"time_range", "domains"})

    base_url: BaseUrl = Field(description="The instance, e.g. http://localhost:8080.")

    async def ask(self, http: httpx.AsyncClient, search: Search) -> httpx.Response:
        """See :class:`~mcpserve_search_web.provider.Provider`. SearXNG takes no limit."""
        params = {"q": search.with_sites, "format": "json"}
        if search.time_range:
            params["time_range"] = search.time_range
        return await http.get(f"{self.base_url}/search", params=params)

    def found(self, body: bytes) -> list[Found]:
        """See :class:`~mcpserve_search_web.provider.Provider`."""
        answer = Answer.model_validate_json(body)
        if answer.unresponsive_engines and not answer.results:
            silent = ", ".join(f"{name} ({why})" for name, why in answer.unresponsive_engines)
            raise ToolError(
                "searxng found nothing, but some of the engines that it asks did not answer: "
                f"{plain_text(silent)}. Try again later."
            )
        return [
            Found(page.url, page.title, page.content, page.published) for page in answer.results
        ]

    def advice(self, response: httpx.Response) -> str:
        """See :class:`~mcpserve_search_web.provider.Provider`."""
        return ADVICE.get(response.status_code, "")


class Page(BaseModel):
    """A result; those that are no pages have no ``url``."""

    url: str | None = None
    title: str | None = None
    content: str | None = None
    published: str | None = Field(None, alias="publishedDate")


class Answer(BaseModel):
    """What an instance answers."""

    results: list[Page]
    unresponsive_engines: list[tuple[str, str]] = []
