"""The mixed load of a soak: all that clients and people do, well or badly, at a fixed rate."""

import asyncio
import itertools
import json
import random
import secrets
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2

from bench import prepare, wire
from bench.subject import Subject
from bench.wire import Era
from mcpserve import crypto
from mcpserve.testing.person import CALLBACK, CLIENT_ID, followed, sent

MOST = 64
"""Things that are done at the same time."""
REPLY = 30.0
"""Seconds for an answer."""


@dataclass(frozen=True)
class Grant:
    """What a login gave."""

    access: str
    refresh: str


class Unexpected(Exception):
    """An answer that is not what it should be; the text says which."""


@dataclass
class Load:
    """Does all kinds of things in turn, and keeps what they took."""

    installed: Subject
    took: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    """By kind: when each began, in seconds, and how long it took."""
    failures: Counter[str] = field(default_factory=Counter)
    begun: int = 0
    """Things; fewer than the rate asks for if the machine is too slow."""
    requests: int = 0
    began: float = field(default_factory=time.monotonic)
    forgiven: tuple[float, float] = (0.0, 0.0)
    """From when to when an answer may be that the database is not there; it does not count."""
    grants: deque[Grant] = field(default_factory=deque)

    async def run(self, seconds: float, *, rate: float) -> None:
        """Begin so many things a second for so long, then wait for the last."""
        end, turn = time.monotonic() + seconds, time.monotonic()
        places = asyncio.Semaphore(MOST)
        async with self.client() as http, asyncio.TaskGroup() as group:
            for kind in schedule():
                if time.monotonic() > end:
                    return
                await places.acquire()
                self.begun += 1
                group.create_task(self._do(http, kind, places))
                turn += 1 / rate
                await asyncio.sleep(max(0.0, turn - time.monotonic()))

    def client(self, *, source: str = "127.0.0.1") -> httpx2.AsyncClient:
        """Return a client, or a browser, without cookies yet and with an address of its own."""
        return httpx2.AsyncClient(
            base_url=f"http://127.0.0.1:{self.installed.port}",
            transport=httpx2.AsyncHTTPTransport(verify=False, local_address=source),
            timeout=REPLY,
            event_hooks={"request": [self._count]},
        )

    async def _count(self, _: httpx2.Request) -> None:
        self.requests += 1

    async def _do(self, http: httpx2.AsyncClient, kind: str, places: asyncio.Semaphore) -> None:
        began = time.monotonic() - self.began
        try:
            await KINDS[kind][1](self, http)
        except (Unexpected, httpx2.HTTPError, KeyError, IndexError) as error:
            if not self._is_forgiven(began):
                self.failures[f"{kind}: {told(error)}"] += 1
        else:
            if not self._is_forgiven(began):
                took = time.monotonic() - self.began - began
                self.took.setdefault(kind, []).append((began, took))
        finally:
            places.release()

    def _is_forgiven(self, began: float) -> bool:
        """Whether the database was away at any moment of this."""
        start, end = self.forgiven
        return began < end and time.monotonic() - self.began > start

    async def call(self, http: httpx2.AsyncClient, era: Era, tool: str, **arguments: Any) -> None:
        """Call a tool with one of the tokens that live for a day."""
        params = {"name": tool, "arguments": arguments}
        token = random.choice(self.installed.access)
        expect(await mcp(http, era, token, params), 200)

    async def log_in(self, http: httpx2.AsyncClient) -> None:
        """Go the whole way in a browser without cookies, and keep the grant."""
        verifier = secrets.token_urlsafe(32)
        query = {
            "response_type": "code",
            "client_id": CLIENT_ID,
            "redirect_uri": CALLBACK,
            "code_challenge": crypto.pkce_s256(verifier),
            "code_challenge_method": "S256",
            "scope": " ".join(prepare.SCOPES),
            "resource": f"{str(http.base_url).rstrip('/')}/mcp",
        }
        async with self.client() as browser:
            page = await followed(browser, await browser.get("/authorize", params=query))
            page = await sent(browser, page, username=prepare.USER, password=prepare.PASSWORD)
            page = await sent(browser, page, decision="approve")
        form = {
            "grant_type": "authorization_code",
            "code": parse_qs(urlsplit(page.headers["Location"]).query)["code"][0],
            "code_verifier": verifier,
            "redirect_uri": CALLBACK,
        }
        self.grants.append(granted(expect(await post(http, "/token", form), 200)))

    async def refresh(self, http: httpx2.AsyncClient) -> Grant:
        """Rotate one token, and use the new access token."""
        grant = await self._grant(http)
        form = {"grant_type": "refresh_token", "refresh_token": grant.refresh}
        fresh = granted(expect(await post(http, "/token", form), 200))
        expect(await mcp(http, "modern", fresh.access, dict(wire.ADD)), 200)
        self.grants.append(fresh)
        return grant

    async def reuse(self, http: httpx2.AsyncClient) -> None:
        """Use a refresh token twice, which ends its grant."""
        old = await self.refresh(http)
        fresh = self.grants.pop()
        form = {"grant_type": "refresh_token", "refresh_token": old.refresh}
        expect(await post(http, "/token", form), 400)
        expect(await mcp(http, "handshake", fresh.access, dict(wire.ADD)), 401)

    async def revoke(self, http: httpx2.AsyncClient) -> None:
        """End a grant."""
        grant = await self._grant(http)
        expect(await post(http, "/revoke", {"token": grant.refresh}), 200)

    async def hang_up(self, http: httpx2.AsyncClient) -> None:
        """Begin an event stream, read the first event, and go."""
        params = {"name": "wait", "arguments": {}, "_meta": {**wire.META, "progressToken": 1}}
        token = random.choice(self.installed.access)
        async with http.stream("POST", "/mcp", **mcp_request("modern", token, params)) as answer:
            if answer.status_code != 200:
                raise Unexpected(f"{answer.status_code}")
            async for line in answer.aiter_lines():
                if line.startswith("data:"):
                    return

    async def wrong_password(self, _: httpx2.AsyncClient) -> None:
        """Guess, at another address than the others: after some guesses it is not listened to."""
        async with self.client(source="127.0.0.2") as browser:
            page = await followed(browser, await browser.get("/connections"))
            answer = await sent_wrong(browser, page)
        if answer not in (401, 429):
            raise Unexpected(f"{answer}")

    async def _grant(self, http: httpx2.AsyncClient) -> Grant:
        if not self.grants:
            await self.log_in(http)
        return self.grants.popleft()


async def sent_wrong(http: httpx2.AsyncClient, page: httpx2.Response) -> int:
    """Send a login form with a name that nobody has; return the status."""
    try:
        await sent(http, page, username=f"nobody-{secrets.randbelow(1000)}", password="wrong")
    except httpx2.HTTPStatusError as error:
        return error.response.status_code
    return 200


def told(error: Exception) -> str:
    """Say in a few words what went wrong."""
    if isinstance(error, httpx2.HTTPStatusError):
        return f"{error.response.status_code} at {error.request.url.path}"
    return str(error) or type(error).__name__


def schedule() -> "itertools.cycle[str]":
    """Return kinds in turn, each as often as it weighs, mixed the same way at every soak."""
    kinds = [kind for kind, (weight, _) in KINDS.items() for _ in range(weight)]
    random.Random(1).shuffle(kinds)
    return itertools.cycle(kinds)


def mcp_request(era: Era, token: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return headers and body of a tool call."""
    whole = wire.mcp_request(era, token, port=0, params=params)
    head, _, body = whole.partition(b"\r\n\r\n")
    lines = [line.split(": ", 1) for line in head.decode().split("\r\n")[2:]]
    return {"headers": {name: value for name, value in lines}, "content": body}


async def mcp(
    http: httpx2.AsyncClient, era: Era, token: str, params: Mapping[str, Any]
) -> httpx2.Response:
    """Call a tool."""
    return await http.post("/mcp", **mcp_request(era, token, params))


async def post(http: httpx2.AsyncClient, path: str, form: Mapping[str, str]) -> httpx2.Response:
    """Send a form as the client."""
    return await http.post(path, data={"client_id": CLIENT_ID, **form})


def expect(answer: httpx2.Response, status: int) -> httpx2.Response:
    """Return the answer. Raises :class:`Unexpected`."""
    if answer.status_code != status:
        raise Unexpected(f"{answer.status_code}, not {status}")
    return answer


def granted(answer: httpx2.Response) -> Grant:
    """Read the answer of /token."""
    told = json.loads(answer.content)
    return Grant(told["access_token"], told["refresh_token"])


async def page(http: httpx2.AsyncClient, path: str, status: int) -> None:
    """Get a page."""
    expect(await http.get(path), status)


async def bad_token(http: httpx2.AsyncClient) -> None:
    """Call with a token that nobody made."""
    expect(await mcp(http, "modern", "mcps_at_" + "A" * 43, dict(wire.ADD)), 401)


Kind = Callable[[Load, httpx2.AsyncClient], Awaitable[object]]
ADD = {"a": 20, "b": 22}
KINDS: dict[str, tuple[int, Kind]] = {
    "call, handshake era": (30, lambda load, http: load.call(http, "handshake", "add", **ADD)),
    "call, modern era": (30, lambda load, http: load.call(http, "modern", "add", **ADD)),
    "result of 1 MB": (1, lambda load, http: load.call(http, "modern", "megabyte")),
    "refresh and call": (10, Load.refresh),
    "login": (2, Load.log_in),
    "reuse": (1, Load.reuse),
    "revocation": (1, Load.revoke),
    "stream that hangs up": (4, Load.hang_up),
    "bad token": (8, lambda _, http: bad_token(http)),
    "wrong password": (1, Load.wrong_password),
    "no such page": (4, lambda _, http: page(http, "/wp-login.php", 404)),
    "discovery": (4, lambda _, http: page(http, "/.well-known/oauth-authorization-server", 200)),
}
"""Of 96 things how many are of a kind, and what it does."""
