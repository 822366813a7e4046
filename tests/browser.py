"""A browser without scripts: it keeps cookies, follows our own redirects and sends our forms."""

from html.parser import HTMLParser
from typing import Any, Self
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx


class Forms(HTMLParser):
    """The forms of a page: action, fields and named buttons."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.forms: list[dict[str, dict[str, Any]]] = []
        self.actions: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect."""
        values = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.actions.append(values.get("action", ""))
            self.forms.append({"fields": {}, "buttons": {}})
        elif tag == "input" and values.get("type") == "checkbox":
            if "checked" in values:
                self.forms[-1]["fields"].setdefault(values["name"], []).append(values["value"])
        elif tag == "input" and self.forms and "name" in values:
            self.forms[-1]["fields"][values["name"]] = values.get("value", "")
        elif tag == "button" and self.forms and "name" in values:
            self.forms[-1]["buttons"][values["value"]] = values["name"]


class Browser:
    """One person's browser."""

    def __init__(self, url: str) -> None:
        self.url = url
        # Without TLS to check: loading the certificates takes longer than most requests.
        self.http = httpx.AsyncClient(
            base_url=url, headers={"Accept": "text/html"}, verify=False, trust_env=False
        )
        self.page: httpx.Response | None = None

    async def __aenter__(self) -> Self:
        """Open it."""
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Close it."""
        await self.http.aclose()

    @property
    def shown(self) -> httpx.Response:
        """The page that is shown, or the redirect that leads out of our server."""
        if self.page is None:
            raise AssertionError("no page was opened")
        return self.page

    async def open(self, path: str, query: dict[str, str] | None = None) -> httpx.Response:
        """Open a page and follow redirects as long as they stay here."""
        return await self._follow(await self.http.get(path, params=query))

    async def submit(
        self, number: int = 0, button: str | None = None, **fields: str | list[str]
    ) -> httpx.Response:
        """Send a form of the page, pressing a button by its value."""
        forms = Forms(self.shown.text)
        form = forms.forms[number]
        data = form["fields"] | fields
        if button is not None:
            data[form["buttons"][button]] = button
        action = urljoin(str(self.shown.url), forms.actions[number])
        return await self._follow(await self.http.post(action, data=data))

    def fields(self, number: int = 0) -> dict[str, Any]:
        """Return the fields of a form of the page, hidden ones too; of boxes the ticked ones."""
        return Forms(self.shown.text).forms[number]["fields"]

    async def log_in(self, name: str, password: str) -> httpx.Response:
        """Fill in the login form."""
        return await self.submit(username=name, password=password)

    async def approve(self) -> dict[str, str]:
        """Press Allow and return the parameters of the answer."""
        return self.answer(await self.submit(button="approve"))

    async def deny(self) -> dict[str, str]:
        """Press Deny and return the parameters of the answer."""
        return self.answer(await self.submit(button="deny"))

    @staticmethod
    def answer(response: httpx.Response) -> dict[str, str]:
        """Return the parameters that a redirect carries to the client."""
        query = parse_qs(urlsplit(response.headers["location"]).query, keep_blank_values=True)
        return {name: values[0] for name, values in query.items()}

    async def _follow(self, response: httpx.Response) -> httpx.Response:
        while response.is_redirect:
            location = urljoin(str(response.url), response.headers["location"])
            if not location.startswith(self.url):
                break
            response = await self.http.get(location)
        self.page = response
        return response
