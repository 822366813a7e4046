"""Making clean text of what a server sent, as a program of its own: see ``extractor``.

It is started by its path and imports nothing of mcpserve, which takes long. What it reads was made
by strangers who may want it to take forever: the process is expendable, and has little to lose.
"""

import codecs
import html as entities
import json
import logging
import math
import os
import re
import signal
import struct
import sys
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, BinaryIO
from urllib.parse import urljoin, urlsplit

LENGTH = struct.Struct(">I")
"""Stands before each part of what server and program say: JSON about a page, its body; JSON."""

MOST_TAGS = 30_000
"""Of a page whose main part is looked for, which takes some 0.1 s for a thousand tags. What has
more is read from top to bottom. Real pages have a fifth of it."""
MOST_WORDS = 20_000
"""Of one tag: the time for its attributes grows with their square."""

HTML = re.compile(r"text/html|application/xhtml\+xml")
TEXT = re.compile(
    r"text/[\w.+-]+|application/(?:[\w.-]+\+)?(?:json|xml)"
    r"|application/(?:javascript|x-ndjson|yaml|x-yaml|toml|sql)"
)
# Atomic and possessive: a comment that ended is never tried with another end.
LOOKS_LIKE_HTML = re.compile(
    rb"\s*+(?:(?><!--.*?-->)\s*+)*+<(?:!doctype html|html|head|body)\b", re.I | re.S
)
DECLARED = re.compile(rb"""(?:charset|encoding)\s*=\s*["']?\s*([\w.:-]+)""", re.I)
# Within seconds: others show a page and renew it.
REFRESH = re.compile(
    r"""<meta\s[^<>]*?\bhttp-equiv\s*=\s*["']?refresh\b"""
    r"""[^<>]*?\bcontent\s*=\s*["']?\s*[0-9]\s*[;,]\s*url\s*=\s*["']?([^"'<>\s]+)""",
    re.I,
)
LANGUAGE = re.compile(r"""<html\b[^>]*?\blang\s*=\s*["']?([A-Za-z]+(?:-[A-Za-z0-9]+)*)""", re.I)
FEW = 400
"""Characters of a page that may only send its reader elsewhere, or away."""
WANTED = re.compile(r"enable|require|disabled|turn(?:ed)? on", re.I)
"""What such a page says of JavaScript."""
SILENT = ("head", "script", "style", "noscript", "template", "svg", "iframe")
"""Elements without text for people."""
BLOCKS = (
    *("address", "article", "aside", "blockquote", "br", "caption", "dd", "div", "dl", "dt"),
    *("figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr"),
    *("li", "main", "nav", "ol", "option", "p", "pre", "section", "table", "tr", "ul"),
)
"""Elements that begin and end a line."""
LINE = "\u2028"
"""Ends a line; the line ends of HTML are spaces."""
BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# The encodings of web pages, https://encoding.spec.whatwg.org/#names-and-labels, as Python calls
# them. Its others are no encodings of text, unsafe (utf-7) or quadratic (punycode).
ENCODINGS = frozenset(
    {"utf-8", "utf-16", "utf-16-le", "utf-16-be", "koi8-r", "koi8-u", "mac-roman", "mac-cyrillic"}
    | {f"iso8859-{number}" for number in (*range(2, 9), 10, *range(13, 17))}
    | {f"cp{number}" for number in (866, 874, 932, 949, *range(1250, 1259))}
    | {"gb18030", "big5", "big5hkscs", "euc_jp", "iso2022_jp", "shift_jis", "euc_kr"}
)
# Text in these would be valid UTF-8, too.
SEVEN_BITS = frozenset({"iso2022_jp", "utf-16", "utf-16-le", "utf-16-be"})
# As browsers read them: a superset that pages mean when they name the smaller one.
MEANT = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
}


class Unreadable(Exception):
    """A page without text for a model; the text says why, and what to do."""


@dataclass(frozen=True)
class Page:
    """What the last server sent, as it came."""

    url: str
    content_type: str
    content_encoding: str
    body: bytes
    links: bool = False
    """Whether its text shall have the addresses of links."""


@dataclass(frozen=True)
class Extracted:
    """What there is to read on a page."""

    title: str
    text: str
    known: Mapping[str, str] = field(default_factory=dict)
    """Site, author, day of publication and language, as far as the page says."""


def extract(page: Page, max_bytes: int) -> Extracted:
    """Return what there is to read. Raises :class:`Unreadable` if that is nothing."""
    body = unpacked(page, max_bytes)
    media_type, _, parameters = page.content_type.partition(";")
    media_type = media_type.strip().lower()
    charset = DECLARED.search(parameters.encode())
    if HTML.fullmatch(media_type) or (not media_type and LOOKS_LIKE_HTML.match(body[:4096])):
        found = from_html(decoded(body, charset or DECLARED.search(body[:2048])), page)
    elif TEXT.fullmatch(media_type) or (not media_type and b"\0" not in body):
        if media_type.endswith("xml"):
            charset = charset or DECLARED.search(body[:200])
        found = Extracted(title=page.url, text=decoded(body, charset).strip())
    else:
        raise Unreadable(
            f"{page.url} is {media_type or 'a file of unknown kind'}, and only web pages and text "
            "can be read: look for a page that says the same."
        )
    if not found.text:
        raise Unreadable(without_text(page.url))
    return found


def without_text(url: str) -> str:
    """Say that there is nothing to read."""
    return (
        f"{url} has no text: it may need a browser that runs its scripts, or a login. "
        "Use another source."
    )


def unpacked(page: Page, max_bytes: int) -> bytes:
    """Return the body without its compression. Raises :class:`Unreadable` if it grows too long."""
    encoding = page.content_encoding.strip().lower()
    if encoding in ("", "identity"):
        return page.body
    if encoding not in ("gzip", "x-gzip"):
        raise Unreadable(f"{page.url} is compressed in an unknown way: use another source.")
    unpacking = zlib.decompressobj(wbits=31)
    try:
        body = unpacking.decompress(page.body, max_bytes)
    except zlib.error as error:
        raise Unreadable(f"{page.url} is damaged: use another source.") from error
    if unpacking.unconsumed_tail:
        raise Unreadable(f"{page.url} is longer than {max_bytes} bytes: use another source.")
    return body


def decoded(body: bytes, declared: re.Match[bytes] | None) -> str:
    """Return the text: by its byte order mark, as UTF-8 if it is that, else by what was declared.

    Many servers declare one charset for all their files; other text is hardly ever valid UTF-8.
    """
    for mark, encoding in BOMS:
        if body.startswith(mark):
            return body.decode(encoding, "replace")
    named = encoding_named(declared[1].decode("ascii", "replace")) if declared else None
    if named in SEVEN_BITS:
        return body.decode(named, "replace")
    try:
        return body.decode()
    except UnicodeDecodeError:
        # As browsers guess.
        return body.decode(named or "cp1252", "replace")


def encoding_named(label: str) -> str | None:
    """Return the encoding that a page means; ``None`` if pages have no such encoding."""
    try:
        name = codecs.lookup(label).name
    except (LookupError, UnicodeError):
        return None
    name = MEANT.get(name, name)
    return name if name in ENCODINGS else None


def from_html(html: str, page: Page) -> Extracted:
    """Return the main part as Markdown; everything, if there is none or the page is huge.

    Raises :class:`Unreadable` for a page that only sends on, or wants scripts.
    """
    url = page.url
    if any(len(tag.split()) > MOST_WORDS for tag in re.findall(r"<[^<>]*+", html)):
        raise Unreadable(too_complicated(url))
    # Takes a second, which neither the server nor the reading of plain text shall wait for.
    import trafilatura  # noqa: PLC0415

    about = text = None
    tree = trafilatura.load_html(html)
    title = tree.findtext(".//title") if tree is not None else None
    if tree is not None and html.count("<") <= MOST_TAGS:
        # Not extensive: a date that is guessed from the text is often wrong, and takes seconds.
        about = trafilatura.extract_metadata(tree, default_url=url, extensive=False)
        if page.links:
            resolve_links(tree, url)
        text = trafilatura.extract(
            tree, output_format="markdown", include_comments=False, include_links=page.links
        )
    text = text or everything(trafilatura.load_html(html))
    text = re.sub(r"\n{3,}", "\n\n", text.replace("¶\n", "\n"))
    refuse_no_content(text, html, url)
    language = LANGUAGE.search(html[:5000])
    known = {
        "site": (about and about.sitename) or urlsplit(url).hostname,
        "author": about and about.author,
        "published": about and about.date,
        "language": language and language[1],
    }
    return Extracted(
        title=(about and about.title) or " ".join((title or "").split()) or url,
        text=text.strip(),
        known={name: value for name, value in known.items() if value},
    )


def refuse_no_content(text: str, html: str, url: str) -> None:
    """Raise :class:`Unreadable` for a page that only sends on, or wants scripts."""
    if len(text) > FEW:
        return
    onward = REFRESH.search(html[:5000])
    target = resolved(url, entities.unescape(onward[1])) if onward else None
    if target and target != url:
        raise Unreadable(f"{url} only leads on to {target}: fetch that.")
    if "javascript" in text.lower() and WANTED.search(text):
        raise Unreadable(without_text(url))


def resolved(base: str, link: str) -> str | None:
    """Return a link to a page as a whole URL, ``None`` for any other."""
    try:
        url = urljoin(base, link.strip())
        return url if urlsplit(url).scheme in ("http", "https") else None
    except ValueError:
        return None


def resolve_links(tree: Any, url: str) -> None:
    """Write whole URLs into links, and leave only the text of those that stay on the page."""
    told = tree.find(".//base[@href]")
    base = resolved(url, told.get("href")) if told is not None else None
    for link in list(tree.iter("a")):
        to = link.get("href", "").strip()
        whole = resolved(base or url, to) if to and not to.startswith("#") else None
        if whole:
            link.set("href", whole)
        else:
            link.tag = "span"


def everything(tree: Any) -> str:
    """Return all text from top to bottom, a line for each block."""
    if tree is None:
        return ""
    for node in list(tree.iter(*SILENT)):
        if node.getparent() is not None:
            node.drop_tree()
    for node in tree.iter(*BLOCKS):
        node.text, node.tail = f"{LINE}{node.text or ''}", f"{LINE}{node.tail or ''}"
    for node in tree.iter("td", "th"):
        node.tail = f" {node.tail or ''}"
    lines = (" ".join(line.split()) for line in tree.text_content().split(LINE))
    return "\n".join(filter(None, lines))


def too_complicated(url: str) -> str:
    """Say that a page would take too much time or memory."""
    return f"{url}: this page is too complicated to read. Use another source."


def main(memory: int) -> None:
    """Read pages from standard input until that is closed, within so many bytes of memory."""
    asked, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    # Ctrl-C and the like are for the server, which lets calls end first, and then closes the pipe.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    logging.disable()  # what libraries say of a page is for nobody
    limit_memory(memory)
    while told := received(asked):
        job = json.loads(told)
        limit_time(job["timeout"])
        page = Page(
            *(job["url"], job["content_type"], job["content_encoding"], received(asked)),
            links=job["links"],
        )
        try:
            answer = asdict(extract(page, job["max_bytes"]))
        except Unreadable as error:
            answer = {"problem": str(error)}
        # Some decoders leave halves of surrogate pairs, which nobody can send on.
        answers.write(framed(json.dumps(answer, ensure_ascii=False).encode(errors="replace")))
        answers.flush()
        limit_time(0)


def framed(part: bytes) -> bytes:
    """Return a part of what is said as it is sent."""
    return LENGTH.pack(len(part)) + part


def received(pipe: BinaryIO) -> bytes:
    """Wait for the next part; it is empty when the server is gone."""
    length = pipe.read(LENGTH.size)
    return pipe.read(*LENGTH.unpack(length)) if len(length) == LENGTH.size else b""


def limit_time(seconds: float) -> None:
    """End the process a second after the server should have, which may be dead; 0 is never."""
    if sys.platform != "win32":
        signal.alarm(math.ceil(seconds) + 1 if seconds else 0)


def limit_memory(size: int) -> None:
    """Let allocations beyond this fail, where the system can do that. A crash leaves no file."""
    if sys.platform == "win32":
        return
    import resource  # noqa: PLC0415 - not on every system

    for limit, wanted in ((resource.RLIMIT_AS, size), (resource.RLIMIT_CORE, 0)):
        hard = resource.getrlimit(limit)[1]
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        try:
            resource.setrlimit(limit, (most, hard))
        except (ValueError, OSError):
            continue  # macOS has the name only


if __name__ == "__main__":
    try:
        main(int(sys.argv[1]))
    except (MemoryError, RecursionError):
        sys.exit(1)  # the page's doing: no traceback for each
