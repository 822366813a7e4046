"""Brave Search: its web search API, with a key."""

from typing import ClassVar

import httpx
from pydantic import BaseModel, Field

from mcpserve_search_web.provider import CONFIG, ApiKey, BaseUrl, Search
from mcpserve_search_web.results import Found

CHECK_KEY = f"it refuses the key, the operator must check {CONFIG}.brave.api_key"


class Brave(BaseModel, extra="forbid", frozen=True):
    """Brave Search; needs a key."""

    coverage: ClassVar[str] = "The web is searched, through Brave Search."
    longest_query: ClassVar[int] = 400
    filters: ClassVar[frozenset[str]] = frozenset({"time_range", "domains"})

    api_key: ApiKey = Field(description="The subscription token.")
    base_url: BaseUrl = Field("https://api.search.brave.com", description="Where the API is.")

    async def ask(self, http: httpx.AsyncClient, search: Search) -> httpx.Response:
        """See :class:`~mcpserve_search_web.provider.Provider`."""
        params: dict[str, str | int] = {"q": search.with_sites, "count": search.limit}
        if search.time_range:
            params["freshness"] = f"p{search.time_range[0]}"
        return await http.get(
            f"{self.base_url}/res/v1/web/search",
            params=params,
            headers={"X-Subscription-Token": self.api_key.get_secret_value()},
        )

    def found(self, body: bytes) -> list[Found]:
        """See :class:`~mcpserve_search_web.provider.Provider`."""
        web = Answer.model_validate_json(body).web
        return [
            Found(page.url, page.title, page.description, page.page_age or page.age)
            for page in (web.results if web else [])
        ]

    def advice(self, response: httpx.Response) -> str:
        """See :class:`~mcpserve_search_web.provider.Provider`.

        A wrong key is a 422 too, so the code in the body has to tell.
        """
        body = response.content
        if response.status_code in (401, 403) or b"SUBSCRIPTION_" in body:
            return CHECK_KEY
        if b"QUOTA_LIMITED" in body:
            return "the quota of the plan is used up, the operator must wait or change the plan"
        if response.status_code == 422:
            return "it did not accept the query, use fewer words (at most 50)"
        return ""


class Page(BaseModel):
    """A result."""

    url: str | None = None
    title: str | None = None
    description: str | None = None
    page_age: str | None = None
    age: str | None = None


class Web(BaseModel):
    """The results that are web pages."""

    results: list[Page]


class Answer(BaseModel):
    """What the API answers; ``web`` is not there if there is no such result."""

    query: dict[str, object]
    web: Web | None = None
