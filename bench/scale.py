"""Is mcpserve as fast with a million tokens as with none? Measures the database's side of calls.

    python -m bench.scale --grants 100000 --expired 200000

Fills one database with grants, each with ten tokens of which one access and one refresh token
live, and one with a hundredth of that; then does the same to both in turns, in this process and
with the pool of a server. At the end it cleans up tokens that expired, while calls go on.
"""

import argparse
import asyncio
import itertools
import json
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg2

from bench import machine, postgres, sizing, stats
from bench.bar import Record
from mcpserve import crypto, migrate
from mcpserve.db import Database
from mcpserve.oauth import decision, grants
from mcpserve.oauth.authorize import AuthorizationRequest, Server
from mcpserve.oauth.forms import Parameters, TokenForm
from mcpserve.oauth.grants import Issuance
from mcpserve.oauth.keys import KeyRing, prepare
from mcpserve.oauth.scopes import Scopes
from mcpserve.oauth.store import bearer, browsers, cleanup
from mcpserve.oauth.store.clients import Client
from mcpserve.settings import OAuthSettings

ISSUER = "https://mcp.example"
RESOURCE = f"{ISSUER}/mcp"
CALLBACK = "https://client.example/callback"
VERIFIER = "v" * 43
SERVER = Server(ISSUER, RESOURCE, Scopes.of({}, ()))
CLIENTS = 50
CALLERS = 16
SECONDS = 2.0
"""Of each kind of call, in each round."""

LARGE = "'{mcp_sessions,oauth_refresh_tokens,oauth_access_tokens}'::regclass[]"
FILL = (
    # Nobody looks at what is written here, so neither do the foreign keys.
    "SET LOCAL session_replication_role = replica",
    "SET LOCAL maintenance_work_mem = '256MB'",
    # Indexes are made at the end, which takes a third of the time.
    f"UPDATE pg_index SET indisready = false WHERE indrelid = ANY({LARGE})",
    """CREATE FUNCTION pg_temp.d(text) RETURNS bytea LANGUAGE sql IMMUTABLE
       AS $$ SELECT sha256(convert_to($1, 'UTF8')) $$""",
    """CREATE FUNCTION pg_temp.i(text) RETURNS uuid LANGUAGE sql IMMUTABLE
       AS $$ SELECT md5($1)::uuid $$""",
    """INSERT INTO oauth_clients (client_id, client_name, redirect_uris, auth_methods, origin)
       SELECT 'client-' || i, 'Client', ARRAY[%(callback)s], '{none}', 'cli'
       FROM generate_series(0, %(clients)s - 1) i""",
    # A person allows five clients on average.
    """INSERT INTO users (id, name, password_hash)
       SELECT pg_temp.i('user-' || i), 'user-' || i, 'none'
       FROM generate_series(0, %(grants)s / 5) i""",
    """INSERT INTO mcp_sessions (id, client_id, user_id, scopes, resource, auth_time, expires_at)
       SELECT pg_temp.i('grant-' || i), 'client-' || i %% %(clients)s,
              pg_temp.i('user-' || i / 5), '{mcp.tools.call}', %(resource)s,
              clock_timestamp(), clock_timestamp() + interval '30 days'
       FROM generate_series(0, %(grants)s - 1) i""",
    """INSERT INTO oauth_refresh_tokens (id, digest, session_id, parent_id, expires_at, rotated_at)
       SELECT pg_temp.i('rt-' || i || '-' || n), pg_temp.d('rt-' || i || '-' || n),
              pg_temp.i('grant-' || i),
              CASE WHEN n > 0 THEN pg_temp.i('rt-' || i || '-' || n - 1) END,
              clock_timestamp() + interval '30 days', CASE WHEN n < 4 THEN clock_timestamp() END
       FROM generate_series(0, %(grants)s - 1) i, generate_series(0, 4) n""",
    """INSERT INTO oauth_access_tokens (digest, session_id, scopes, expires_at)
       SELECT pg_temp.d('at-' || i || '-' || n), pg_temp.i('grant-' || i), '{mcp.tools.call}',
              clock_timestamp() + (n - 3) * interval '4 hours'
       FROM generate_series(0, %(grants)s - 1) i, generate_series(0, 4) n""",
    """INSERT INTO browser_sessions (digest, user_id, auth_time, expires_at)
       SELECT pg_temp.d('cookie-' || i), pg_temp.i('user-' || i), clock_timestamp(),
              clock_timestamp() + interval '12 hours'
       FROM generate_series(0, %(grants)s / 5) i""",
    f"UPDATE pg_index SET indisready = true WHERE indrelid = ANY({LARGE})",
    "REINDEX TABLE mcp_sessions",
    "REINDEX TABLE oauth_refresh_tokens",
    "REINDEX TABLE oauth_access_tokens",
)
SIZES = """
SELECT relname, pg_total_relation_size(relid) AS bytes FROM pg_stat_user_tables
WHERE n_live_tup > 1000 ORDER BY bytes DESC
"""
EXPIRE = """
INSERT INTO oauth_access_tokens (digest, session_id, scopes, expires_at)
SELECT sha256(convert_to('spent-' || i, 'UTF8')), md5('grant-' || i %% %(grants)s)::uuid,
       '{mcp.tools.call}', clock_timestamp() - interval '2 days' - i * interval '1 ms'
FROM generate_series(1, %(expired)s) i
"""

Call = Callable[["Place", int], Awaitable[object]]


@dataclass(frozen=True)
class Place:
    """A filled database."""

    db: Database
    grants: int
    live: deque[tuple[int, str]]
    """The number of a grant and its refresh token, for each: used once, it makes the next one."""


@dataclass(frozen=True)
class Measured:
    """What calls of one kind took: CPU of this process in µs for each, and ms."""

    cpu: float
    p50: float
    p99: float
    number: int

    @classmethod
    def of(cls, cpu: float, seconds: list[float]) -> "Measured":
        """Sum up."""
        ordered, number = sorted(seconds), len(seconds)
        p50, p99 = (1000 * ordered[int(number * part)] for part in (0.5, 0.99))
        return cls(cpu / number * 1e6, p50, p99, number)


async def look_up(at: Place, number: int) -> object:
    """Use an access token."""
    digest = crypto.digest(f"at-{number * 7919 % at.grants}-4")
    return await bearer.find_principal(at.db, digest, resource=RESOURCE)


async def refresh(at: Place, _: int) -> object:
    """Use a refresh token."""
    number, token = at.live.popleft()
    form = form_of("refresh_token", refresh_token=token)
    answer = await grants.refresh_token(at.db, ISSUANCE, client(number), form)
    at.live.append((number, answer["refresh_token"]))
    return answer


async def log_in(at: Place, number: int) -> object:
    """Ask, approve and exchange the code, in a browser where somebody is logged in."""
    session = await browsers.find_session(
        at.db, crypto.digest(f"cookie-{number * 7919 % (at.grants // 5)}")
    )
    if session is None:
        raise LookupError("nobody is logged in")
    asked = AuthorizationRequest(
        client(number),
        CALLBACK,
        Parameters({}),
        scopes=frozenset({"mcp.tools.call"}),
        resource=RESOURCE,
        code_challenge=crypto.pkce_s256(VERIFIER),
    )
    request_id = await decision.keep(at.db, session, asked)
    pending = await browsers.find_request(at.db, crypto.digest(request_id), session.id)
    redirect = await decision.approve(
        at.db,
        SERVER,
        session,
        request_id,
        decision.require_open(pending),
        withheld=frozenset(),
        code_lifetime=timedelta(minutes=1),
    )
    (code,) = parse_qs(urlsplit(redirect).query)["code"]
    form = form_of("authorization_code", code=code, code_verifier=VERIFIER, redirect_uri=CALLBACK)
    return await grants.authorization_code(at.db, ISSUANCE, client(number), form)


CALLS: dict[str, Call] = {"lookup": look_up, "refresh": refresh, "login": log_in}
ISSUANCE = Issuance(OAuthSettings(), RESOURCE, KeyRing({}))


def client(number: int) -> Client:
    """Return one of the clients."""
    name = f"client-{number % CLIENTS}"
    return Client(name, "Client", (CALLBACK,), ("none",), "cli")


def form_of(grant_type: str, **fields: str) -> TokenForm:
    """Return a token request."""
    values = {name: (value,) for name, value in fields.items()}
    return TokenForm.of(Parameters({"grant_type": (grant_type,), **values}))


async def measure(at: Place, call: Call, *, until: Callable[[], bool]) -> Measured:
    """Let callers call again and again."""
    numbers, took = itertools.count(), list[float]()

    async def keep_calling() -> None:
        while not until():
            begin = time.perf_counter()
            if await call(at, next(numbers)) is None:
                raise LookupError("there is no such token")
            took.append(time.perf_counter() - begin)

    cpu = time.process_time()
    await asyncio.gather(*(keep_calling() for _ in range(CALLERS)))
    return Measured.of(time.process_time() - cpu, took)


async def for_seconds(at: Place, call: Call) -> Measured:
    """Measure for a fixed time."""
    end = time.monotonic() + SECONDS
    return await measure(at, call, until=lambda: time.monotonic() > end)


@asynccontextmanager
async def filled(url: str, number: int) -> AsyncIterator[Place]:
    """Fill an empty database with so many grants."""
    async with Database.connect(url, acquire_timeout=30) as db:
        await migrate.apply(db)
        await prepare(db, ISSUANCE.keys)
        begin = time.monotonic()
        values = {
            "grants": number,
            "clients": CLIENTS,
            "callback": CALLBACK,
            "resource": RESOURCE,
        }
        async with db.transaction(unlimited=True) as tx:
            for statement in FILL:
                await tx.execute(statement, **(values if "%(" in statement else {}))
        seconds = time.monotonic() - begin
        tidy_up(url)
        print(f"{number} grants with {10 * number} tokens: {11 * number / seconds:.0f} rows/s")
        yield Place(db, number, deque((n, f"rt-{n}-4") for n in range(number)))


def tidy_up(url: str) -> None:
    """Do what PostgreSQL would do by itself some time later; no call shall wait for it."""
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("VACUUM (ANALYZE)")
            cursor.execute("CHECKPOINT")


async def clean_up(at: Place, expired: int) -> Record:
    """Delete tokens that expired, while others are looked up, and compare with before."""
    async with at.db.transaction(unlimited=True) as tx:
        await tx.execute(EXPIRE, grants=at.grants, expired=expired)
    before = await for_seconds(at, look_up)
    begin = time.monotonic()
    purge = asyncio.create_task(cleanup.purge(at.db))
    during = await measure(at, look_up, until=purge.done)
    counts = await purge or {}
    rate = counts["oauth_access_tokens"] / (time.monotonic() - begin)
    print(f"cleanup: {counts['oauth_access_tokens']} access tokens, {rate:.0f} a second")
    print(
        f"lookups meanwhile: p50 {before.p50:.2f} → {during.p50:.2f} ms,"
        f" p99 {before.p99:.2f} → {during.p99:.2f} ms ({during.p99 / before.p99:.2f})"
    )
    return {"rate": rate, "p99": during.p99, "p99_before": before.p99}


async def compare(urls: tuple[str, str], options: argparse.Namespace) -> Record:
    """Do the same to a large and a small database, in turns."""
    told: dict[str, Any] = {"grants": options.grants, "calls": {}}
    async with AsyncExitStack() as stack:
        large = await stack.enter_async_context(filled(urls[0], options.grants))
        small = await stack.enter_async_context(filled(urls[1], max(options.grants // 100, 1000)))
        for name, call in CALLS.items():
            rounds = []
            for each in range(options.rounds + 1):
                pair = [await for_seconds(at, call) for at in (large, small)]
                rounds += [pair] if each else []  # The first one fills caches.
            for shown in ("cpu", "p50", "p99"):
                ours, theirs = (
                    [getattr(at, shown) for at in side] for side in zip(*rounds, strict=True)
                )
                unit = "µs" if shown == "cpu" else "ms"
                told["calls"].setdefault(name, {})[shown] = stats.median(ours)
                told["calls"][name][f"{shown}_ratio"] = stats.paired(ours, theirs).median
                print(
                    f"{name:8}{shown}  {stats.median(ours):8.2f} {unit}, small"
                    f" {stats.median(theirs):8.2f} {unit}: {stats.paired(ours, theirs)}"
                )
        told["bytes"] = {row.relname: row.bytes for row in await large.db.rows(SIZES)}
        told["cleanup"] = await clean_up(large, options.expired)
    return told


def main() -> None:
    """Measure what the arguments ask for."""
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("--grants", type=int, default=1_000_000)
    parser.add_argument("--expired", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with postgres.running() as server:
        urls = server.create("large"), server.create("small")
        told = asyncio.run(compare(urls, options))
    told = {"date": time.strftime("%Y-%m-%d"), "machine": machine.describe(), **told}
    sizing.RESULTS["scale"].write_text(json.dumps(told, indent=1) + "\n")
    sizing.write()


if __name__ == "__main__":
    main()
