"""Tavily: its search API, with a key or in its limited mode without one."""

from typing import ClassVar, Self

import httpx
from pydantic import BaseModel, Field, model_validator

from mcpserve_search_web.provider import CONFIG, ApiKey, BaseUrl, Search
from mcpserve_search_web.results import Found


class Tavily(BaseModel, extra="forbid", frozen=True):
    """Tavily; needs a key, or ``keyless: true``."""

    coverage: ClassVar[str] = "The web is searched, through Tavily."
    longest_query: ClassVar[int] = 400
    filters: ClassVar[frozenset[str]] = frozenset({"time_range", "domains"})

    api_key: ApiKey | None = Field(None, description="The API key.")
    keyless: bool = Field(
        False, description="Search without a key, which Tavily allows for a few searches."
    )
    base_url: BaseUrl = Field("https://api.tavily.com", description="Where the API is.")

    @model_validator(mode="after")
    def _has_a_key_or_does_without(self) -> Self:
        if (self.api_key is None) != self.keyless:
            raise ValueError("needs either api_key, or keyless: true for a few searches without")
        return self

    async def ask(self, http: httpx.AsyncClient, search: Search) -> httpx.Response:
        """See :class:`~mcpserve_search_web.provider.Provider`."""
        if self.api_key is None:
            headers = {"X-Tavily-Access-Mode": "keyless"}
        else:
            headers = {"Authorization": f"Bearer {self.api_key.get_secret_value()}"}
        asked: dict[str, object] = {"query": search.query, "max_results": search.limit}
        if search.time_range:
            asked["time_range"] = search.time_range
        if search.domains:
            asked["include_domains"] = list(search.domains)
        return await http.post(
            f"{self.base_url}/search",
            json=asked,
            headers=headers,
        )

    def found(self, body: bytes) -> list[Found]:
        """See :class:`~mcpserve_search_web.provider.Provider`."""
        return [
            Found(page.url, page.title, page.content, page.published_date)
            for page in Answer.model_validate_json(body).results
        ]

    def advice(self, response: httpx.Response) -> str:
        """See :class:`~mcpserve_search_web.provider.Provider`."""
        if response.status_code in (432, 433):
            return "the limit of the plan is used up, the operator must raise it at Tavily"
        if self.keyless and 400 < response.status_code < 500:
            return f"more needs a key, the operator can set {CONFIG}.tavily.api_key"
        if response.status_code in (401, 403):
            return f"it refuses the key, the operator must check {CONFIG}.tavily.api_key"
        return ""


class Page(BaseModel):
    """A result."""

    url: str | None = None
    title: str | None = None
    content: str | None = None
    published_date: str | None = None


class Answer(BaseModel):
    """What the API answers."""

    results: list[Page]
