"""Programs of other people: running them as they are, and being the person before them."""

import asyncio
import json
import re
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
from browser import Browser
from document_host import clients, publishing
from e2e import process
from serving import PASSWORD, USER, Running, serving
from tls import Authority

KEYS_CLIENT = "keys-client"
"""Proves who it is by signing (private_key_jwt)."""
DESKTOP_CLIENT = "desktop-client"
"""Programs on a person's machine, listening at a port of their choice."""
IDENTITY_CLIENT = "identity-client"
"""Asks who the person is; no other test asks for it, or it would get the same again."""
PLAIN_CLIENT = "plain-client"
PLAIN_SECRET = "a-secret-of-plain-letters"
"""For programs that do not encode what they put into a Basic header."""

DOCUMENT = "https://client.example/program.json"
"""Where the programs of :func:`believing` describe themselves (CIMD)."""
LOOPBACK = [
    "http://127.0.0.1/callback",
    "http://127.0.0.1/oauth/callback",
    "http://localhost/oauth/callback",
]
"""Where they listen."""

AUTHORIZE = re.compile(r"http\S+/authorize\?\S+")


@asynccontextmanager
async def running(*command: Any, **env: str) -> AsyncIterator[Process]:
    """Run a program until the block ends, with pipes to and from it."""
    words = [str(word) for word in command]
    environment = process.environment(**env)
    program = await asyncio.create_subprocess_exec(
        *words, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=environment, limit=2**20
    )
    try:
        yield program
    finally:
        if program.returncode is None:
            program.kill()
        await program.communicate()


async def finish(program: Process) -> tuple[str, str]:
    """Close the program's input; return the rest of its output and errors once it ended well."""
    async with asyncio.timeout(process.PATIENCE):
        output, errors = await program.communicate(b"")  # Not None, which keeps it open.
    assert program.returncode == 0, (output, errors)
    return output.decode(), errors.decode()


async def find(stream: asyncio.StreamReader, pattern: re.Pattern[str]) -> str:
    """Read lines until one has this, and return it."""
    seen = []
    async with asyncio.timeout(process.PATIENCE):
        async for line in stream:
            seen.append(line.decode())
            if found := pattern.search(seen[-1]):
                return found[0]
    raise AssertionError("".join(seen))


async def talk(
    node: Any, script: Any, told: Any, **answers: Callable[[Any], Awaitable[Any]]
) -> Any:
    """Run a script of this folder: answer what it asks by name, and return what it has seen."""
    async with running(node, script) as program:

        def tell(value: Any) -> None:
            program.stdin.write(json.dumps(value).encode() + b"\n")

        tell(told)
        async with asyncio.timeout(process.PATIENCE):
            async for line in program.stdout:
                [(question, value)] = json.loads(line).items()
                if question == "seen":
                    return value
                tell(await answers[question](value))
            raise AssertionError((await program.stderr.read()).decode())


async def decide(url: str, decision: str = "approve") -> str:
    """Be the person: open the page, log in, press a button; return where that leads."""
    async with Browser(url.partition("/authorize")[0]) as browser:
        await browser.open(url)
        await browser.log_in(USER, PASSWORD)
        return (await browser.submit(button=decision)).headers["location"]


async def visit(url: str) -> str:
    """Be the person whose browser comes back to a program that listens for it."""
    location = await decide(url)
    async with (
        asyncio.timeout(process.PATIENCE),
        httpx.AsyncClient(verify=False, trust_env=False) as http,
    ):
        while True:
            with suppress(httpx.ConnectError):  # Some listen after they have named the address.
                (await http.get(location)).raise_for_status()
                return location
            await asyncio.sleep(0.05)


@asynccontextmanager
async def believing(dsn: str, authority: Authority) -> AsyncIterator[Running]:
    """Serve, and publish a document about the programs that the server believes.

    The server runs in this process, because one of its own asks only hosts of the internet.
    """
    async with publishing(authority) as publisher:
        publisher.documents[DOCUMENT] = {
            "client_id": DOCUMENT,
            "client_name": "A program",
            "redirect_uris": LOOPBACK,
        }
        async with serving(dsn, clients(), fetcher=publisher.fetcher) as server:
            yield server
