"""Pages of MCP Apps: what is told of them, and what is refused."""

import pytest
from exchanges import exchange, handshake, modern

from mcpserve import app_page, resource, shown_on, tool

HTML = "<!doctype html><title>Card</title>"
CARD = app_page(
    "ui://weather/card.html",
    HTML,
    title="Card",
    connect_domains=["https://api.example.com", "wss://api.example.com:8443"],
    resource_domains=["https://*.example.com"],
    domain="card.example.com",
    prefers_border=True,
)
PLAIN = app_page("ui://weather/plain", HTML)
EMPTY = {"connectDomains": [], "resourceDomains": [], "frameDomains": [], "baseUriDomains": []}
BOTH = pytest.mark.parametrize("send", [modern, handshake])


@tool(meta=shown_on(CARD))
def forecast() -> str:
    """Forecast."""
    return "rain"


@tool(meta=shown_on(PLAIN, visibility=["app"]))
def refresh() -> str:
    """Forecast, for the page."""
    return "rain"


@resource("weather://help", mime_type="text/html")
def guide() -> str:
    """How to read it."""
    return HTML


SERVER = exchange(forecast, refresh, CARD, PLAIN)


@BOTH
async def test_a_page_is_read_with_what_it_may_reach(send):
    answer = await send(SERVER, "resources/read", {"uri": CARD.uri})
    (content,) = answer.result["contents"]
    assert (content["text"], content["mimeType"]) == (HTML, "text/html;profile=mcp-app")
    assert content["_meta"]["ui"] == {
        "csp": EMPTY
        | {
            "connectDomains": ["https://api.example.com", "wss://api.example.com:8443"],
            "resourceDomains": ["https://*.example.com"],
        },
        "domain": "card.example.com",
        "prefersBorder": True,
    }


@BOTH
async def test_a_page_is_listed_and_reaches_nothing_by_default(send):
    listed = (await send(SERVER, "resources/list")).result["resources"]
    assert [each["name"] for each in listed] == ["card.html", "plain"]
    assert listed[0]["title"] == "Card"
    assert listed[1]["_meta"] == {"ui": {"csp": EMPTY}}


@BOTH
async def test_a_tool_names_its_page(send):
    tools = (await send(SERVER, "tools/list")).result["tools"]
    shown = {each["name"]: each["_meta"] for each in tools}
    assert shown["forecast"]["ui"] == {"resourceUri": "ui://weather/card.html"}
    assert shown["forecast"]["openai/outputTemplate"] == "ui://weather/card.html"
    assert shown["refresh"]["ui"]["visibility"] == ["app"]
    assert shown["forecast"]["securitySchemes"]


@pytest.mark.parametrize(("offers", "declared"), [((forecast, CARD), True), ((guide,), False)])
async def test_the_extension_is_declared_if_there_is_a_page(offers, declared):
    # Earlier revisions of MCP have no place for it.
    capabilities = (await modern(exchange(*offers), "server/discover")).result["capabilities"]
    extensions = capabilities.get("extensions")
    assert extensions == ({"io.modelcontextprotocol/ui": {}} if declared else None)


@pytest.mark.parametrize(
    ("uri", "html", "domains", "problem"),
    [
        ("https://example.com/card", HTML, [], "must begin with ui://"),
        ("ui://", HTML, [], "must begin with ui://"),
        ("ui://weather/{city}", HTML, [], "have no variables"),
        ("ui://weather/a b", HTML, [], "is no URI"),
        ("ui://weather/card", "<p>Hello", [], "begins with <!doctype html>"),
        ("ui://weather/card", HTML, "https://example.com", "must be a list"),
        *(
            ("ui://weather/card", HTML, [domain], "is no origin such as https://example.com")
            for domain in [
                "http://example.com",
                "example.com",
                "*",
                "https:",
                "https://",
                "https://example.com/",
                "https://example.com/api",
                "https://example.com; script-src *",
                "https://example.com https://evil.example",
                "https://example.com\n",
                "https://user@example.com",
                "https://a.*.example.com",
                "'unsafe-eval'",
            ]
        ),
    ],
)
def test_what_no_host_would_show_is_refused(uri, html, domains, problem):
    for argument in ("connect_domains", "resource_domains", "frame_domains", "base_uri_domains"):
        with pytest.raises(ValueError, match=problem):
            app_page(uri, html, **{argument: domains})


def test_a_tool_is_shown_on_pages_only():
    with pytest.raises(ValueError, match="is no page; make it with app_page"):
        shown_on(guide)
