"""The official TypeScript SDK, versions 1 and 2: it renews, waits and asks when it has to."""

import postgres
import pytest
from blackbox.foreign import DESKTOP_CLIENT, PLAIN_CLIENT, PLAIN_SECRET, decide, talk
from e2e.process import add_user, configure, started
from psycopg2 import sql
from psycopg2.extensions import parse_dsn
from serving import CALLBACK

HOSTS = {"v1": ("v1", "legacy"), "v2": ("v2", "legacy"), "v2-2026": ("v2", "auto")}
LIFETIME = 1.0
DISCOVERY = [
    "POST /mcp 401",
    "GET /.well-known/oauth-protected-resource/mcp 200",
    "GET /.well-known/oauth-authorization-server 200",
]
END_ALL = sql.SQL("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = {}")
LOOPBACK = "http://127.0.0.1:4711/callback"
CLIENTS = {
    "public": ({"client_id": DESKTOP_CLIENT}, LOOPBACK),
    "secret": ({"client_id": PLAIN_CLIENT, "client_secret": PLAIN_SECRET}, CALLBACK),
    "registered": (None, LOOPBACK),
    "registered, public": (None, LOOPBACK),
}


@pytest.fixture(scope="module")
def forgetful(cluster, template, configured, tmp_path_factory):
    """A server whose access tokens end at once, and its database, which a test may take away."""
    with postgres.new_database(cluster, template=template) as dsn:
        config = configure(
            tmp_path_factory.mktemp("forgetful"),
            dsn=dsn,
            oauth={
                "access_token_lifetime": f"{LIFETIME:.0f}s",
                "clients": {"configured": configured},
            },
        )
        add_user(config)
        with started(config) as process:
            yield process, dsn


@pytest.mark.proves("MD-11", "TR-14")
@pytest.mark.parametrize(
    ("version", "client"),
    [
        ("v1", "public"),
        ("v1", "registered"),
        ("v2", "secret"),
        ("v2", "registered, public"),
        ("v2-2026", "public"),
    ],
)
async def test_the_sdk_stays_connected(npm, forgetful, cluster, version, client):
    server, dsn = forgetful
    known, redirect_uri = CLIENTS[client]
    name = parse_dsn(dsn)["dbname"]
    alter = f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS'

    async def outage(_):
        postgres.query(cluster, f"{alter} false")
        postgres.query(cluster, END_ALL.format(sql.Literal(name)))

    async def recovery(_):
        postgres.query(cluster, f"{alter} true")

    module, mode = HOSTS[version]
    told = {
        "version": module,
        "mode": mode,
        "resource": server.resource,
        "redirectUri": redirect_uri,
        "client": known,
        "metadata": {"token_endpoint_auth_method": "none"} if "public" in client else {},
        "lifetime": 1000 * LIFETIME + 100,
    }
    try:
        seen = await talk(
            "node",
            npm / "typescript_sdk.mjs",
            told,
            authorize=decide,
            outage=outage,
            recovery=recovery,
        )
    finally:
        await recovery(None)
    assert seen == {
        "discovery": DISCOVERY,
        "registered": [] if known else ["POST /register 201"],
        "secret": "public" not in client,
        "calls": [42, 42, 42, 42],
        "rotated": True,
        "outage": ["POST /mcp 503", "POST /token 503"],
        "keptTokens": True,
        "asked": 1,
        "invalidated": [],
        "revoked": True,
        "invalidatedThen": ["tokens"],
    }
