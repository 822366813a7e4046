"""No secret gets into the log or, readable, into the database, whatever happens to it."""

import asyncio
import base64
import hashlib
import json
import subprocess
import sys
from contextlib import asynccontextmanager, suppress
from types import SimpleNamespace

import httpx
import postgres
import pytest
import yaml
from serving import CALLBACK, USER, Flow, Running, basic
from tables import contents
from tornado.netutil import bind_sockets
from wire import send

from mcpserve.crypto import PasswordHasher
from mcpserve.db import Database
from mcpserve.oauth.store import users

PASSWORD = "CANARY-password-of-alice"
SECRET = "CANARY-secret-of-the-client"
VERIFIER = "CANARY-verifier-" + "v" * 43
STATE = "CANARY-state"
CLIENTS = [
    {"id": "public-client", "redirect_uris": [CALLBACK]},
    {"id": "secret-client", "redirect_uris": [CALLBACK], "secret": SECRET},
    {"id": "patient-client", "redirect_uris": [CALLBACK], "refresh_reuse_window": "60s"},
]


@asynccontextmanager
async def real_server(dsn, folder):
    """Run ``mcpserve serve`` as people do, with all that it can log, into two files."""
    async with Database.connect(dsn) as db:
        hasher = PasswordHasher(4)
        await users.create(db, USER, await hasher.hash_password(PASSWORD))
        hasher.close()
    (listener,) = bind_sockets(0, "127.0.0.1")
    port = listener.getsockname()[1]
    listener.close()
    config = folder / "config.yaml"
    settings = {
        "server": {"port": port, "processes": 1},
        "database": {"url": dsn},
        "log": {"format": "json", "level": "debug"},
        "login": {"bcrypt_rounds": 4},
        "oauth": {"clients": {"configured": CLIENTS}, "refresh_reuse_window": "0s"},
        "plugins": {"calculator": {}},
    }
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    said, logged = folder / "stdout", folder / "stderr"
    command = [sys.executable, "-m", "mcpserve", "serve", "--config", str(config)]
    with (
        said.open("wb") as out,
        logged.open("wb") as err,
        subprocess.Popen(command, stdout=out, stderr=err) as process,
    ):
        try:
            resource = f"http://localhost:{port}/mcp"
            services = SimpleNamespace(server=SimpleNamespace(resource=resource))
            server = Running(f"http://127.0.0.1:{port}", services)
            await answering(server)
            yield server
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()


async def answering(server):
    async with asyncio.timeout(20), server.http() as http:
        while True:
            try:
                await http.get("/healthz")
            except httpx.TransportError:
                await asyncio.sleep(0.05)
            else:
                return


async def log_in(server, flow, secrets):
    """Get a code as a clumsy person does, and collect what must stay secret on the way."""
    async with server.browser() as browser:
        await browser.open("/consent", {"request": "CANARY-request"})
        await browser.open("/authorize", flow.parameters(state=STATE))
        for fields in ({"csrf": "CANARY-csrf"}, {"password": "CANARY-wrong-password"}):
            await browser.submit(**({"username": USER, "password": PASSWORD} | fields))
            secrets |= {browser.http.cookies["mcpserve"]}
            await browser.open("/authorize", flow.parameters(state=STATE))
        secrets |= set(browser.fields().values()) - {""}
        await browser.log_in(USER, PASSWORD)
        fields = browser.fields()
        # The names of tools are none.
        fields.pop("tool")
        secrets |= {browser.http.cookies["mcpserve"], *fields.values()} - {""}
        code = (await browser.approve())["code"]
        secrets.add(code)
        return code


async def do_everything(server, dsn, secrets):
    """Use every endpoint rightly and wrongly, with secrets wherever they could be put."""
    public = Flow(server, verifier=VERIFIER)
    confidential = Flow(server, client_id="secret-client", secret=SECRET, verifier=VERIFIER)
    code = await log_in(server, public, secrets)
    await public.exchange(code, code_verifier="CANARY-wrong-verifier")
    await public.post(f"/token?code={code}&state=CANARY-in-the-url")
    first = (await public.exchange(code)).json()
    second = (await public.refresh(first["refresh_token"])).json()
    for answer in (first, second):
        secrets |= {answer["access_token"], answer["refresh_token"]}
    assert (await public.call_tool(second["access_token"])).status_code == 200
    await public.post("/revoke", token=second["access_token"])
    await public.refresh(first["refresh_token"])  # reuse
    await public.exchange(code)  # replay
    await public.refresh("CANARY-guess")
    await public.post("/revoke", token="CANARY-guess")
    await public.refresh("CANARY\0control")
    code = await log_in(server, confidential, secrets)
    nobody = {"client_id": None, "client_secret": None}
    for header in (
        basic("secret-client", "CANARY-wrong"),
        {"Authorization": "Basic CANARY!"},
        {"Authorization": "Bearer CANARY-bearer"},
    ):
        await confidential.exchange(code, headers=header, **nobody)
        await confidential.exchange(code, headers=header)
    await confidential.exchange(code, client_secret="CANARY-wrong")
    tokens = await confidential.exchange(code, headers=basic("secret-client", SECRET), **nobody)
    assert tokens.status_code == 200
    secrets |= {tokens.json()["access_token"], tokens.json()["refresh_token"]}
    async with server.http(headers={"Cookie": "mcpserve=CANARY-cookie"}) as http:
        for path in (
            "/mcp?access_token=",
            "/setup?token=",
            "/authorize?state=",
            "/consent?request=",
        ):
            await http.get(f"{path}CANARY-in-a-query")
            await http.post(f"{path}CANARY-in-a-query", json={"access_token": "CANARY-body"})
    await confidential.call_mcp("CANARY-bearer")
    await send(server.url, b"POST /token HTTP/1.1\r\nAuthorization: Basic CANARY\x01\r\n\r\n")
    await send(
        server.url, b"POST /token?CANARY HTTP/1.1\r\nHost: a\r\nCookie: CANARY\r\n b\r\n\r\n"
    )
    await be_recorded(server, dsn, secrets)
    postgres.query(dsn, "ALTER TABLE oauth_refresh_tokens RENAME TO renamed")
    for broken in (
        await confidential.exchange(await log_in(server, confidential, secrets)),
        await confidential.refresh(tokens.json()["refresh_token"]),
        await confidential.post("/revoke", token=tokens.json()["access_token"]),
    ):
        assert broken.status_code == 500
    postgres.query(dsn, "ALTER TABLE renamed RENAME TO oauth_refresh_tokens")
    # Of a row that it refuses PostgreSQL tells the whole content.
    refusal = "ALTER TABLE authorization_requests ADD CHECK (state IS NULL) NOT VALID"
    postgres.query(dsn, refusal)
    async with server.http() as http:
        broken = await http.get("/authorize", params=public.parameters(state=STATE))
    assert broken.status_code == 500


async def be_recorded(server, dsn, secrets):
    """Do what else is an event: a denial, a repeated answer, a replay, the end of a grant."""
    flow = Flow(server, client_id="patient-client", verifier=VERIFIER)
    async with server.browser() as browser:
        await browser.open("/authorize", flow.parameters())
        await browser.log_in("CANARY-typed-into-the-wrong-field", "CANARY")
        await browser.log_in(USER, PASSWORD)
        await browser.deny()
    first = (await flow.exchange(await log_in(server, flow, secrets))).json()
    for _ in range(2):
        last = (await flow.refresh(first["refresh_token"])).json()
    for answer in (first, last):
        secrets |= {answer["access_token"], answer["refresh_token"]}
    await flow.post("/revoke", token=last["refresh_token"])
    code = await log_in(server, flow, secrets)
    answer = (await flow.exchange(code)).json()
    secrets |= {answer["access_token"], answer["refresh_token"]}
    postgres.query(
        dsn, "UPDATE oauth_authorization_codes SET used_at = used_at - interval '1 minute'"
    )
    await flow.exchange(code)


def check_events(dsn, lines, secrets):
    """Check that much was recorded and told, both alike, and no digest of a secret either."""
    rows = postgres.query(dsn, "SELECT to_jsonb(e) FROM auth_events e ORDER BY id")
    told = [line for line in lines if line["logger"] == "mcpserve.audit"]
    assert [line["id"] for line in told] == [row["id"] for (row,) in rows]
    assert {row["event"] for (row,) in rows} == {
        *("client.added", "login.succeeded", "login.failed", "consent.given", "consent.denied"),
        *("grant.started", "grant.revoked", "code.replayed"),
        *("token.refreshed", "token.repeated", "token.reused", "token.revoked", "key.added"),
    }
    for line, (row,) in zip(told, rows, strict=True):
        assert {name: line.get(name) for name in row if name != "at"} | {"at": row["at"]} == row
    written = json.dumps([told, rows])
    for secret in secrets:
        digest = hashlib.sha256(secret.encode())
        assert secret not in written
        assert digest.hexdigest() not in written
        assert base64.urlsafe_b64encode(digest.digest()).decode()[:43] not in written


@pytest.mark.proves("SE-01", "SE-04", "TR-07", "BR-04", "AD-03")
async def test_no_secret_can_be_read_afterwards(dsn, tmp_path):
    secrets = {PASSWORD, SECRET, VERIFIER, "CANARY"}
    async with real_server(dsn, tmp_path) as server:
        await do_everything(server, dsn, secrets)
    assert len(secrets) > 20

    log = (tmp_path / "stderr").read_text(encoding="utf-8")
    said = (tmp_path / "stdout").read_text(encoding="utf-8")
    assert [secret for secret in secrets if secret in log + said] == []
    lines = [json.loads(line) for line in log.splitlines()]
    requests = [line["message"] for line in lines if line["logger"] == "mcpserve.access"]
    assert len(requests) > 60
    assert [message for message in requests if "?" in message] == []
    assert {line["level"] for line in lines} == {"debug", "info", "warning", "error"}
    check_events(dsn, lines, secrets)
    tracebacks = "".join(line.get("exception", "") for line in lines)
    assert "UndefinedTable" in tracebacks
    assert "CheckViolation" in tracebacks

    # The state is the client's own and is kept until its person has answered.
    tables = "\n".join(row for rows in contents(dsn).values() for row in rows).replace(STATE, "")
    assert "secret-client" in tables
    for secret in secrets:
        assert secret not in tables
        assert secret.encode().hex() not in tables
