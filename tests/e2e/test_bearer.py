"""The bearer token at /mcp: who gets in, and what the others are told."""

import json
import re

import httpx
import postgres
import pytest
from serving import SECRET, Flow, serving
from tables import unchanged
from wire import send

from mcpserve.principal import Principal

PARAMETER = r'([a-z_]+)="((?:[^"\\]|\\["\\])*)"'
CHALLENGE = re.compile(rf"Bearer {PARAMETER}(?:, {PARAMETER})*")
EXTRA = {"plugins": {"calculator": {"scopes": ["math.read"]}}}
PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}


def challenge(answer: httpx.Response) -> dict[str, str]:
    """Parse the challenge as RFC 9110 section 11.6.1 writes it, and nothing looser."""
    (header,) = answer.headers.get_list("www-authenticate")
    assert CHALLENGE.fullmatch(header)
    pairs = re.findall(PARAMETER, header)
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def where_to_go(server) -> dict[str, str]:
    issuer = server.services.server.issuer
    return {
        "resource_metadata": f"{issuer}/.well-known/oauth-protected-resource/mcp",
        "scope": "mcp.tools.call",
    }


async def ask(server, authorization=None, path="/mcp", **options):
    """Send a ping with these Authorization headers."""
    async with server.http() as http:
        values = [authorization] if isinstance(authorization, str) else authorization or []
        headers = [("Authorization", value.encode("latin-1")) for value in values]
        headers += [("Accept", "application/json, text/event-stream")]
        return await http.post(path, headers=headers, **({"json": PING} | options))


def check_invalid_token(server, answer):
    """Check what a token that is no good gets."""
    told = challenge(answer)
    assert (answer.status_code, told.pop("error")) == (401, "invalid_token")
    assert told.pop("error_description") == answer.json()["error_description"]
    assert told == where_to_go(server)
    assert answer.json()["error"] == "invalid_token"
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.proves("BR-01")
async def test_without_credentials_the_challenge_names_no_error(dsn):
    async with serving(dsn) as server:
        for authorization in (None, "", "Basic YTpi", "Digest x", "bearerx", "Bearerx y"):
            answer = await ask(server, authorization)
            assert answer.status_code == 401
            assert challenge(answer) == where_to_go(server)


@pytest.mark.proves("BR-01", "BR-07")
async def test_the_challenge_is_the_same_whatever_was_sent(dsn):
    public = {"server": {"public_url": "https://mcp.example.org"}}
    async with serving(dsn, public) as server, server.http() as http:
        texts = set()
        for host in ("localhost", "mcp.example.org"):
            headers = {
                "Host": host,
                "X-Forwarded-Host": 'evil"\\',
                "Authorization": 'Bearer zZz"\\, error="x',
            }
            answer = await http.post('/mcp?a="zZz', json=PING, headers=headers)
            texts.add(answer.headers["www-authenticate"])
            check_invalid_token(server, answer)
        assert len(texts) == 1
        assert "zZz" not in texts.pop()


@pytest.mark.proves("BR-02", "BR-05")
async def test_a_malformed_or_unknown_token_is_invalid(dsn):
    tokens = ("", "a b", "a,b", '"a"', "é", "=", "mcps_at_unknown", "a" * 8000, "Bearer", "\t", "*")
    async with serving(dsn) as server:
        for token in tokens:
            check_invalid_token(server, await ask(server, f"Bearer {token}".rstrip()))


@pytest.mark.proves("BR-02", "RI-04")
async def test_a_dead_token_is_invalid(dsn):
    ended = "UPDATE mcp_sessions SET state = '{}', ended_at = clock_timestamp()"
    async with serving(dsn) as server:
        for death in (
            "UPDATE oauth_access_tokens SET expires_at = clock_timestamp()",
            "UPDATE oauth_access_tokens SET revoked_at = clock_timestamp()",
            "DELETE FROM oauth_access_tokens",
            "UPDATE mcp_sessions SET resource = 'https://evil.example/mcp'",
            ended.format("revoked"),
            ended.format("compromised"),
        ):
            token = (await Flow(server).tokens())["access_token"]
            assert (await ask(server, f"Bearer {token}")).status_code == 200
            postgres.query(dsn, death)
            with unchanged(dsn):
                check_invalid_token(server, await ask(server, f"Bearer {token}"))


@pytest.mark.proves("RI-04")
async def test_a_token_of_another_resource_is_invalid(dsn):
    elsewhere = {"server": {"public_url": "https://other.example.org"}}
    async with serving(dsn) as server, serving(dsn, elsewhere, with_user=False) as other:
        token = (await Flow(server).tokens())["access_token"]
        assert (await ask(server, f"Bearer {token}")).status_code == 200
        check_invalid_token(other, await ask(other, f"Bearer {token}"))


@pytest.mark.proves("BR-06")
async def test_only_an_access_token_opens_the_door(dsn):
    async with serving(dsn) as server:
        flow = Flow(server).confidential()
        code, tokens = await flow.code(), await flow.tokens()
        for credential in (tokens["refresh_token"], code, SECRET, flow.verifier, "secret-client"):
            answer = await ask(server, "Bearer " + credential.encode("ascii", "ignore").decode())
            check_invalid_token(server, answer)
        assert (await flow.exchange(code)).status_code == 200
        assert (await flow.refresh(tokens["refresh_token"])).status_code == 200


@pytest.mark.proves("BR-03")
async def test_a_missing_scope_is_told_with_all_that_are_needed(dsn):
    async with serving(dsn, EXTRA) as server:
        flow = Flow(server)
        token = (await flow.tokens())["access_token"]
        answer = await flow.call_tool(token)
        assert answer.status_code == 403
        assert challenge(answer) == where_to_go(server) | {
            "error": "insufficient_scope",
            "error_description": answer.json()["error_description"],
            "scope": "math.read mcp.tools.call",
        }
        tokens = await flow.tokens(scope=challenge(answer)["scope"])
        assert (await flow.call_tool(tokens["access_token"])).status_code == 200


@pytest.mark.proves("BR-03")
async def test_chatgpt_is_told_the_same_in_the_result_of_the_tool(dsn):
    async with serving(dsn, EXTRA) as server:
        flow = Flow(server)
        token = (await flow.tokens())["access_token"]
        call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
        call["params"] = {"name": "calculator", "arguments": {"expression": "1 + 1"}}
        in_http = await ask(server, f"Bearer {token}", json=call)
        async with server.http(headers={"User-Agent": "openai-mcp/1.0.0"}) as http:
            accept = {"Accept": "application/json, text/event-stream"}
            headers = {"Authorization": f"Bearer {token}", **accept}
            answer = await http.post("/mcp", json=call, headers=headers)
            no_token = await http.post("/mcp", json=call, headers=accept)
        assert (in_http.status_code, answer.status_code) == (403, 200)
        assert "www-authenticate" not in answer.headers
        result = answer.json()["result"]
        assert result["isError"] is True
        assert result["_meta"]["mcp/www_authenticate"] == [in_http.headers["www-authenticate"]]
        assert no_token.status_code == 401
        assert challenge(no_token) == where_to_go(server)


@pytest.mark.proves("BR-04")
async def test_a_token_in_the_url_or_the_body_is_not_looked_at(dsn):
    async with serving(dsn) as server:
        token = (await Flow(server).tokens())["access_token"]
        for answer in (
            await ask(server, path=f"/mcp?access_token={token}"),
            await ask(server, data={"access_token": token}, json=None),
            await ask(server, json=PING | {"access_token": token}),
        ):
            assert answer.status_code == 401
            assert challenge(answer) == where_to_go(server)
        answer = await ask(server, f"Bearer {token}", data={"access_token": token}, json=None)
        assert 400 <= answer.status_code < 500


@pytest.mark.proves("BR-05")
async def test_the_scheme_is_read_in_any_case(dsn):
    async with serving(dsn) as server:
        token = (await Flow(server).tokens())["access_token"]
        for scheme in ("Bearer", "bearer", "BEARER", "bEaReR", "Bearer "):
            assert (await ask(server, f"{scheme} {token}")).status_code == 200


@pytest.mark.proves("BR-05")
async def test_two_tokens_are_one_too_many(dsn):
    async with serving(dsn) as server:
        token = (await Flow(server).tokens())["access_token"]
        good = f"Bearer {token}"
        for headers in ([good, good], [good, "Bearer x"], ["Basic YTpi", good]):
            answer = await ask(server, headers)
            assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
        check_invalid_token(server, await ask(server, f"{good}, {good}"))


@pytest.mark.proves("BR-08")
async def test_the_token_is_judged_before_the_body_is_parsed_or_a_large_one_sent(dsn):
    async with serving(dsn) as server:
        head = "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n"
        assert (await send(server.url, head.encode())).status == 401
        answer = await ask(server, "Bearer x", content=b"{" * 1000, json=None)
        check_invalid_token(server, answer)


@pytest.mark.proves("BR-08", "RV-08")
async def test_every_request_is_judged_anew(dsn):
    async with serving(dsn) as server, server.http() as http:
        flow = Flow(server)
        tokens = await flow.tokens()
        headers = {"Authorization": f"Bearer {tokens['access_token']}"}
        assert (await http.post("/mcp", json=PING, headers=headers)).status_code == 200
        assert (await http.post("/mcp", json=PING)).status_code == 401
        await flow.post("/revoke", token=tokens["refresh_token"])
        assert (await http.post("/mcp", json=PING, headers=headers)).status_code == 401


async def test_only_post_asks_for_a_token(dsn):
    async with serving(dsn) as server, server.http() as http:
        for method in ("GET", "DELETE", "PUT", "PATCH", "HEAD"):
            answer = await http.request(method, "/mcp")
            assert answer.status_code == 405
            assert set(answer.headers["allow"].split(", ")) == {"POST", "OPTIONS"}
            assert "www-authenticate" not in answer.headers


@pytest.mark.proves("BR-09")
def test_a_plugin_learns_who_calls_and_never_the_token():
    assert set(Principal.__dataclass_fields__) == {"client_id", "subject", "scopes", "withheld"}


@pytest.mark.proves("TR-16")
async def test_a_browser_client_may_read_the_challenge(dsn):
    cors = {"cors": {"origins": ["https://app.example"]}}
    async with serving(dsn, cors) as server, server.http() as http:
        answer = await http.post("/mcp", json=PING, headers={"Origin": "https://app.example"})
        assert answer.status_code == 401
        assert answer.headers["access-control-allow-origin"] == "https://app.example"
        assert "WWW-Authenticate" in answer.headers["access-control-expose-headers"]


async def test_a_ping_is_answered_to_whoever_is_let_in(dsn):
    async with serving(dsn) as server:
        token = (await Flow(server).tokens())["access_token"]
        answer = await ask(server, f"Bearer {token}")
        assert json.loads(answer.content) == {"jsonrpc": "2.0", "id": 1, "result": {}}
        assert "www-authenticate" not in answer.headers
