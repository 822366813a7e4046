"""MCP Apps (SEP-1865): pages on which a host shows what a tool answered.

A page is a resource; the host reads it, puts it into a sandboxed frame and talks to it there.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from mcpserve.resources import Resource, resource

__all__ = ["app_page", "shown_on"]

EXTENSION = "io.modelcontextprotocol/ui"
"""What hosts that show pages, and servers that have some, declare among their capabilities."""

MIME_TYPE = "text/html;profile=mcp-app"

DOCUMENT = re.compile(r"\s*<!doctype html\b", re.IGNORECASE)

ORIGIN = re.compile(r"(https|wss)://(\*\.)?[a-z0-9-]+(\.[a-z0-9-]+)*(:\d{1,5})?", re.ASCII)
"""Nothing else fits: a host writes these into the header that keeps the page in."""

Visibility = Literal["model", "app"]


def app_page(
    uri: str,
    html: str,
    *,
    name: str | None = None,
    title: str | None = None,
    description: str | None = None,
    connect_domains: Sequence[str] = (),
    resource_domains: Sequence[str] = (),
    frame_domains: Sequence[str] = (),
    base_uri_domains: Sequence[str] = (),
    domain: str | None = None,
    prefers_border: bool | None = None,
    scopes: Sequence[str] = (),
    meta: Mapping[str, Any] | None = None,
) -> Resource:
    """Make a :class:`Resource` of a page, a whole HTML document that hosts show in a frame.

    The page reaches no other server but these: ``connect_domains`` by requests,
    ``resource_domains`` for scripts, styles, images and fonts, ``frame_domains`` for frames of
    its own, ``base_uri_domains`` for ``<base>``. Each is an origin such as
    ``https://api.example.com`` or ``https://*.example.com``. ``domain`` is an origin of its own,
    in the form that the host wants. ``name`` is by default the last part of ``uri``.

    Raises :class:`ValueError` for what no host would show.
    """
    if not re.fullmatch(r"ui://[^{}]+", uri):
        raise ValueError(f"page {uri!r}: the URI must begin with ui:// and have no variables")
    if not DOCUMENT.match(html):
        raise ValueError(f"page {uri!r}: html must be a document that begins with <!doctype html>")
    csp = {
        "connectDomains": origins("connect_domains", connect_domains, uri=uri),
        "resourceDomains": origins("resource_domains", resource_domains, uri=uri),
        "frameDomains": origins("frame_domains", frame_domains, uri=uri),
        "baseUriDomains": origins("base_uri_domains", base_uri_domains, uri=uri),
    }
    told = {"csp": csp, "domain": domain, "prefersBorder": prefers_border}
    ui = {key: value for key, value in told.items() if value is not None}

    async def page() -> str:
        return html

    return resource(
        uri,
        name=name or uri.rstrip("/").rpartition("/")[2],
        title=title,
        description=description,
        mime_type=MIME_TYPE,
        scopes=scopes,
        meta={**(meta or {}), "ui": ui},
    )(page)


def origins(argument: str, domains: Sequence[str], *, uri: str) -> list[str]:
    """Return the origins as they are. Raises :class:`ValueError` for what is none."""
    if isinstance(domains, str):
        raise ValueError(f"page {uri!r}: {argument} must be a list")
    for each in domains:
        if not ORIGIN.fullmatch(each):
            raise ValueError(
                f"page {uri!r}: {argument}: {each!r} is no origin such as https://example.com"
            )
    return list(domains)


def page_uri(meta: Mapping[str, Any] | None) -> str | None:
    """Return the URI of the page on which the result of a tool with this ``meta`` is shown."""
    ui = (meta or {}).get("ui")
    uri = ui.get("resourceUri") if isinstance(ui, Mapping) else None
    return uri if isinstance(uri, str) else None


def shown_on(page: Resource, *, visibility: Sequence[Visibility] = ()) -> dict[str, Any]:
    """Return the ``meta`` of a tool whose result hosts show on this page.

    The plugin must offer the page, too. ``visibility`` says who may call the tool, by default
    both: the model, and the page itself.

    Raises :class:`ValueError` for a resource that is no page.
    """
    if page.mime_type != MIME_TYPE:
        raise ValueError(f"resource {page.uri!r} is no page; make it with app_page")
    ui = {"resourceUri": page.uri} | ({"visibility": list(visibility)} if visibility else {})
    # ChatGPT's name for the same, from before there was a standard.
    return {"ui": ui, "openai/outputTemplate": page.uri}
