"""Making clean text of what a server sent. Nothing here asks anybody; all of it is bounded."""

import asyncio
import codecs
import re
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import trafilatura

from mcpserve import ToolError
from mcpserve_search_web.pages import Page

MOST_TAGS = 50_000
"""Of a page whose main part is looked for, which takes some 0.1 s for a thousand tags. What has
more is read from top to bottom. Real pages have a tenth of it."""

HTML = re.compile(r"text/html|application/xhtml\+xml")
TEXT = re.compile(
    r"text/[\w.+-]+|application/(?:[\w.-]+\+)?(?:json|xml)"
    r"|application/(?:javascript|x-ndjson|yaml|x-yaml|toml|sql)"
)
LOOKS_LIKE_HTML = re.compile(
    rb"\s*(?:<!--.*?-->\s*)*<(?:!doctype html|html|head|body)\b", re.I | re.S
)
DECLARED = re.compile(rb"""(?:charset|encoding)\s*=\s*["']?\s*([\w.:-]+)""", re.I)
LANGUAGE = re.compile(r"""<html\b[^>]*?\blang\s*=\s*["']?([A-Za-z]+(?:-[A-Za-z0-9]+)*)""", re.I)
BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# As browsers read them: a superset that pages mean when they name the smaller one.
MEANT = {"iso8859-1": "cp1252", "ascii": "cp1252", "gb2312": "gb18030", "gbk": "gb18030"}


@dataclass(frozen=True)
class Extracted:
    """What there is to read on a page."""

    title: str
    text: str
    known: dict[str, str] = field(default_factory=dict)
    """Site, author, day of publication and language, as far as the page says."""


class Extractor:
    """Extracts in threads of its own, few of them: the work is the processor's."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="extract")

    def close(self) -> None:
        """Begin no more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def extract(self, page: Page) -> Extracted:
        """See :func:`extract`."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, extract, page, self._max_bytes)


def extract(page: Page, max_bytes: int) -> Extracted:
    """Return what there is to read. Raises :class:`ToolError` if that is nothing."""
    body = unpacked(page, max_bytes)
    media_type, _, parameters = page.content_type.partition(";")
    media_type = media_type.strip().lower()
    charset = DECLARED.search(parameters.encode())
    if HTML.fullmatch(media_type) or (not media_type and LOOKS_LIKE_HTML.match(body[:4096])):
        found = from_html(decoded(body, charset or DECLARED.search(body[:2048])), page.url)
    elif TEXT.fullmatch(media_type) or (not media_type and b"\0" not in body):
        if media_type.endswith("xml"):
            charset = charset or DECLARED.search(body[:200])
        found = Extracted(title=page.url, text=decoded(body, charset).strip())
    else:
        raise ToolError(
            f"{page.url} is {media_type or 'a file of unknown kind'}, and only web pages and text "
            "can be read: look for a page that says the same."
        )
    if not found.text:
        raise ToolError(
            f"{page.url} has no text: it may need a browser that runs its scripts, or a login. "
            "Use another source."
        )
    return found


def unpacked(page: Page, max_bytes: int) -> bytes:
    """Return the body without its compression. Raises :class:`ToolError` if it grows too long."""
    encoding = page.content_encoding.strip().lower()
    if encoding in ("", "identity"):
        return page.body
    if encoding not in ("gzip", "x-gzip"):
        raise ToolError(f"{page.url} is compressed in an unknown way: use another source.")
    unpacking = zlib.decompressobj(wbits=31)
    try:
        body = unpacking.decompress(page.body, max_bytes)
    except zlib.error as error:
        raise ToolError(f"{page.url} is damaged: use another source.") from error
    if unpacking.unconsumed_tail:
        raise ToolError(f"{page.url} is longer than {max_bytes} bytes: use another source.")
    return body


def decoded(body: bytes, declared: re.Match[bytes] | None) -> str:
    """Return the text: by its byte order mark, by what was declared, else as browsers guess."""
    for mark, encoding in BOMS:
        if body.startswith(mark):
            return body.decode(encoding, "replace")
    if declared:
        try:
            name = codecs.lookup(declared[1].decode("ascii", "replace")).name
            return body.decode(MEANT.get(name, name), "replace")
        except (LookupError, UnicodeError):
            pass  # no such encoding, or none of text
    try:
        return body.decode()
    except UnicodeDecodeError:
        return body.decode("cp1252", "replace")


def from_html(html: str, url: str) -> Extracted:
    """Return the main part as Markdown; everything, if there is none or the page is huge."""
    about = text = None
    tree = trafilatura.load_html(html)
    if tree is not None and html.count("<") <= MOST_TAGS:
        # Not extensive: a date that is guessed from the text is often wrong, and takes seconds.
        about = trafilatura.extract_metadata(tree, default_url=url, extensive=False)
        text = trafilatura.extract(tree, output_format="markdown", include_comments=False)
    text = text or trafilatura.html2txt(html) or ""
    language = LANGUAGE.search(html[:5000])
    known = {
        "site": (about and about.sitename) or urlsplit(url).hostname,
        "author": about and about.author,
        "published": about and about.date,
        "language": language and language[1],
    }
    return Extracted(
        title=(about and about.title) or url,
        text=text.strip(),
        known={name: value for name, value in known.items() if value},
    )
