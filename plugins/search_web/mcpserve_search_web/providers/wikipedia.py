"""Wikipedia: ``list=search`` of the MediaWiki action API. Official, and needs no key."""

from typing import ClassVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, Field, TypeAdapter

from mcpserve import ToolError
from mcpserve_search_web.provider import CONFIG, USER_AGENT, BaseUrl, Search
from mcpserve_search_web.results import Found, plain_text


class Wikipedia(BaseModel, extra="forbid", frozen=True):
    """The articles of one Wikipedia, or of another wiki of Wikimedia."""

    coverage: ClassVar[str] = "Only the articles of Wikipedia are searched, not the whole web."
    longest_query: ClassVar[int] = 300
    filters: ClassVar[frozenset[str]] = frozenset()

    base_url: BaseUrl = Field(
        "https://en.wikipedia.org",
        description="The wiki; for another language e.g. https://de.wikipedia.org.",
    )
    contact: str = Field(
        "",
        pattern=r"^[!-'*-~]*$",
        description="E-mail address or URL of whoever runs this server; sent in User-Agent, as "
        "Wikimedia asks of every client.",
    )

    async def ask(self, http: httpx.AsyncClient, search: Search) -> httpx.Response:
        """See :class:`~mcpserve_search_web.provider.Provider`."""
        product, library = USER_AGENT.split()
        agent = f"{product} ({self.contact}) {library}" if self.contact else USER_AGENT
        return await http.get(
            f"{self.base_url}/w/api.php",
            params={
                "action": "query",
                "list": "search",
                "srsearch": search.query,
                "srlimit": search.limit,
                "srprop": "snippet",
                "format": "json",
                "formatversion": 2,
            },
            headers={"User-Agent": agent},
        )

    def found(self, body: bytes) -> list[Found]:
        """See :class:`~mcpserve_search_web.provider.Provider`."""
        answer = ANSWER.validate_json(body)
        if isinstance(answer, Refusal):
            raise ToolError(f"wikipedia did not search: {plain_text(answer.error.info)}")
        # No date: that of the last edit says nothing of how old the text is.
        return [
            Found(self.article_url(page.title), page.title, page.snippet)
            for page in answer.query.search
        ]

    def article_url(self, title: str) -> str:
        """Return the address of the article, escaped as MediaWiki itself does."""
        return f"{self.base_url}/wiki/{quote(title.replace(' ', '_'), safe='/:,;@$!*()~')}"

    def advice(self, response: httpx.Response) -> str:
        """See :class:`~mcpserve_search_web.provider.Provider`."""
        if response.status_code in (403, 429) and not self.contact:
            return f"the operator should set {CONFIG}.wikipedia.contact, as Wikimedia asks"
        return ""


class Page(BaseModel):
    """An article that was found."""

    title: str
    snippet: str = ""


class Pages(BaseModel):
    """The list of articles."""

    search: list[Page]


class Answer(BaseModel):
    """A search that was carried out."""

    query: Pages


class Problem(BaseModel):
    """Why the API did nothing."""

    info: str


class Refusal(BaseModel):
    """An error, which comes with the status 200."""

    error: Problem


ANSWER: TypeAdapter[Answer | Refusal] = TypeAdapter(Answer | Refusal)
