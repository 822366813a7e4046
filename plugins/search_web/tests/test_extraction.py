"""Pages that are made to take forever, and the processes that read them."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from mcpserve_search_web import extraction
from mcpserve_search_web.extraction import LOOKS_LIKE_HTML, Unreadable, extract, framed
from mcpserve_search_web.extraction import Page as Answer
from mcpserve_search_web.extractor import Extractor

from mcpserve import ToolError

WORDS = "<p>Hello, these are enough words for a paragraph that is kept, really and truly.</p>"
LINKS = "<html><body><article><p>" + "<a href=x>y</a> " * 14_000
SPANS = "<html><body><table>" + "<tr><td colspan=1000>x</td></tr>" * 7_000
ATTRIBUTES = "<html><body><p " + " ".join(f"a{number}=1" for number in range(200_000)) + ">x"
FORKS = sys.platform == "linux"


def page(body: str | bytes, content_type: str = "text/html") -> Answer:
    body = body.encode() if isinstance(body, str) else body
    return Answer("https://example.org/", content_type, "", body)


@asynccontextmanager
async def extractor(
    *, timeout: float = 20, memory: int = 2**30, max_bytes: int = 3_000_000
) -> AsyncIterator[Extractor]:
    opened = Extractor(max_bytes=max_bytes, timeout=timeout, memory=memory)
    try:
        yield opened
    finally:
        await opened.close()


async def text(opened: Extractor, body: str, content_type: str = "text/plain") -> str:
    return (await opened.extract(page(body, content_type))).text


def programs() -> list[int]:
    """Return the processes that extract for this one."""
    children = [
        int(pid)
        for told in Path("/proc/self/task").glob("*/children")
        for pid in told.read_text().split()
    ]
    return [
        pid for pid in children if b"extraction.py" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]


# What takes too much.


@pytest.mark.parametrize("body", [LINKS, SPANS], ids=["links", "spans"])
async def test_a_page_that_takes_too_long_is_given_up_and_the_next_one_is_read(body: str) -> None:
    async with extractor(timeout=1.5) as opened:
        # As many as there are processes, and one more.
        calls = [opened.extract(page(body)) for _ in range(3)]
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert [str(result) for result in results] == [
            "https://example.org/: this page is too complicated to read. Use another source."
        ] * 3
        assert await text(opened, "words") == "words"


def test_a_tag_of_very_many_attributes_is_not_even_begun() -> None:
    with pytest.raises(Unreadable, match="too complicated"):
        extract(page(ATTRIBUTES), 3_000_000)


@pytest.mark.skipif(not FORKS, reason="no limit of memory")
async def test_a_page_that_takes_too_much_memory_is_given_up_and_the_next_one_is_read() -> None:
    async with extractor(memory=80_000_000, max_bytes=20_000_000) as opened:
        with pytest.raises(ToolError, match="too complicated"):
            await text(opened, "ö" * 10_000_000)
        assert await text(opened, "words") == "words"


async def test_a_text_that_grew_beyond_all_measure_is_not_taken() -> None:
    async with extractor(max_bytes=100) as opened:
        with pytest.raises(ToolError, match="too complicated"):
            await text(opened, "x" * (2**20 + 401))


async def test_comments_before_a_page_of_no_type_take_no_time() -> None:
    async with extractor(timeout=5) as opened:
        assert await text(opened, "<!---->" * 500 + "x", "") == "<!---->" * 500 + "x"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"<!DOCTYPE html>", True),
        (b" \n<!-- a --> <!-- b -->\n<HTML lang=de>", True),
        (b"<!-- <p> --><body>", True),
        (b"<!-- <html> -->words", False),
        (b"<!-- <html>", False),
        (b"<htmlx>", False),
    ],
)
def test_a_page_of_no_type_is_known_by_how_it_begins(body: bytes, expected: bool) -> None:
    assert bool(LOOKS_LIKE_HTML.match(body)) is expected


# Encodings.


@pytest.mark.parametrize(
    "label",
    [
        *("punycode", "idna", "unicode_escape", "raw_unicode_escape", "utf-7", "undefined"),
        *("hz", "utf-32", "cp037", "rot13", "mbcs", "../x"),
    ],
)
def test_an_encoding_that_pages_do_not_have_is_not_believed(label: str) -> None:
    body = r"+AGE- \ud800 a-b ~{ 9999b"
    assert extract(page(body, f"text/plain; charset={label}"), 1000).text == body


@pytest.mark.parametrize(
    ("label", "encoding"),
    [
        ("Shift_JIS", "shift_jis"),
        ("EUC-JP", "euc_jp"),
        ("iso-2022-jp", "iso2022_jp"),
        ("Big5", "big5"),
        ("utf-16le", "utf-16-le"),
    ],
)
def test_an_encoding_of_pages_is_believed(label: str, encoding: str) -> None:
    body = "東京".encode(encoding)
    assert extract(page(body, f"text/plain; charset={label}"), 1000).text == "東京"


async def test_halves_of_surrogate_pairs_do_not_leave_the_process() -> None:
    async with extractor() as opened:
        found = await opened.extract(Answer("https://example.org/\ud800", "", "", b"words"))
    assert found.title == "https://example.org/?"


# The processes.


async def test_a_call_that_is_cancelled_ends_its_process() -> None:
    async with extractor() as opened:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await opened.extract(page(LINKS))
        if FORKS:
            assert programs() == []
        assert await text(opened, "of the next page") == "of the next page"


@pytest.mark.skipif(not FORKS, reason="looks into /proc")
async def test_a_process_stays_for_the_next_page_until_all_is_closed() -> None:
    async with extractor() as opened:
        assert programs() == []
        await text(opened, "words")
        [process] = programs()
        await text(opened, "words")
        assert programs() == [process]
        os.kill(process, signal.SIGKILL)
        while Path(f"/proc/{process}").exists():
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)  # for the event loop to be told
        assert await text(opened, "words again") == "words again"
    assert programs() == []


async def test_what_is_being_read_when_all_is_closed_fails() -> None:
    async with extractor() as opened:
        call = asyncio.create_task(opened.extract(page(LINKS)))
        await asyncio.sleep(0.5)
    with pytest.raises(ToolError, match="too complicated"):
        async with asyncio.timeout(5):
            await call
    with pytest.raises(ToolError, match="at the moment"):
        await text(opened, "words")
    if FORKS:
        assert programs() == []


@pytest.mark.skipif(not FORKS, reason="looks into /proc")
async def test_a_process_does_not_learn_the_secrets_of_the_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DATABASE_URL", "SECRET")
    async with extractor() as opened:
        await text(opened, "words")
        [process] = programs()
        told = Path(f"/proc/{process}/environ").read_bytes()
    names = {pair.partition(b"=")[0] for pair in told.split(b"\0") if pair}
    assert names <= {b"PYTHONPATH", b"PYTHONHOME", b"LD_LIBRARY_PATH", b"TMPDIR", b"TEMP"}


@pytest.mark.skipif(not FORKS, reason="signals")
@pytest.mark.parametrize(
    ("unsent", "ended"), [(0, 0), (1, -signal.SIGALRM)], ids=["idle", "in the midst of a page"]
)
def test_a_process_ends_when_the_server_is_dead_or_stuck(unsent: int, ended: int) -> None:
    told = {
        **{"url": "https://example.org/", "content_type": "text/html", "content_encoding": ""},
        **{"max_bytes": 3_000_000, "timeout": 0.1, "links": True},
    }
    job = framed(json.dumps(told).encode()) + framed(b"words")
    command = [sys.executable, "-P", extraction.__file__, str(2**30)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        assert process.stdin
        process.stdin.write(job[: len(job) - unsent])
        process.stdin.flush()
        if not unsent:
            process.stdin.close()
        assert process.wait(timeout=20) == ended
