"""/token and /revoke as HTTP: methods, sizes, headers of the answers, CORS, what breaks."""

import itertools

import httpx
import postgres
import pytest
from serving import SECRET, SECRET_CLIENT, Flow, basic, serving
from tables import unchanged
from wire import send

ENDPOINTS = ["/token", "/revoke"]
PAGES = ["/authorize", "/authorize/decision", "/login", "/consent", "/logout", "/"]
OTHER_METHODS = ("GET", "PUT", "DELETE", "PATCH", "PROPFIND")
FORM = "application/x-www-form-urlencoded"
APP = "https://app.example"


def check_api_error(answer: httpx.Response, status: int, error: str) -> None:
    """Check what every error of an API endpoint must be."""
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "location" not in answer.headers
    assert "server" not in answer.headers


@pytest.mark.proves("TR-01")
async def test_only_post_is_served(dsn):
    async with serving(dsn) as server, server.http() as http:
        tokens = await Flow(server).tokens()
        form = {
            "client_id": "public-client",
            "grant_type": "refresh_token",
            "refresh_token": tokens["refresh_token"],
            "token": tokens["refresh_token"],
        }
        with unchanged(dsn):
            for path, method in itertools.product(ENDPOINTS, OTHER_METHODS):
                answer = await http.request(method, path, data=form)
                check_api_error(answer, 405, "invalid_request")
                assert set(answer.headers["allow"].split(", ")) == {"POST", "OPTIONS"}
            assert (await http.head("/token")).status_code == 405


@pytest.mark.proves("TR-10")
async def test_a_body_has_64_kib_at_most(dsn):
    async def chunks(size):
        yield b"client_id=public-client&token=x&filler="
        yield b"a" * size

    async with serving(dsn) as server, server.http(headers={"Content-Type": FORM}) as http:
        for path, served in (("/token", 400), ("/revoke", 200)):
            with unchanged(dsn):
                too_large = await http.post(path, content=b"a=" + b"a" * 65535)
                check_api_error(too_large, 413, "invalid_request")
                too_large = await http.post(path, content=chunks(70_000))
                check_api_error(too_large, 413, "invalid_request")
                head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 65537\r\n\r\n"
                assert (await send(server.url, head.encode())).status == 413
                # More digits than Python reads as a number.
                head = head.replace("65537", "9" * 5000)
                assert (await send(server.url, head.encode())).status == 413
            assert (await http.post(path, content=chunks(60_000))).status_code == served


@pytest.mark.proves("TR-10")
async def test_a_body_has_a_hundred_fields_at_most(dsn):
    async with serving(dsn) as server:
        fields = {"token": "x"} | {f"filler{number}": "x" for number in range(98)}
        assert (await Flow(server).post("/revoke", **fields)).status_code == 200
        with unchanged(dsn):
            for path in ENDPOINTS:
                answer = await Flow(server).post(path, **fields, one_more="x")
                check_api_error(answer, 400, "invalid_request")


@pytest.mark.proves("TR-10")
async def test_a_compressed_body_is_refused(dsn):
    async with serving(dsn) as server:
        with unchanged(dsn):
            for path, coding in itertools.product(ENDPOINTS, ("gzip", "deflate", "br", "x")):
                headers = {"Content-Encoding": coding}
                answer = await Flow(server).post(path, headers=headers, token="x")
                check_api_error(answer, 415, "invalid_request")


@pytest.mark.proves("TR-11", "TR-12", "TR-18")
async def test_no_answer_may_be_stored_or_sniffed(dsn):
    async with serving(dsn) as server:
        flow = Flow(server)
        code = await flow.code()
        check_api_error(await flow.exchange("unknown"), 400, "invalid_grant")
        check_api_error(await flow.token(client_id="x"), 401, "invalid_client")
        check_api_error(await flow.post("/revoke"), 400, "invalid_request")
        check_api_error(await flow.post("/revoke", client_id="x"), 401, "invalid_client")
        success = await flow.exchange(code)
        revoked = await flow.post("/revoke", token=success.json()["access_token"])
        assert success.headers["content-type"].startswith("application/json")
        assert success.headers["pragma"] == "no-cache"
        for answer in (success, revoked):
            assert answer.status_code == 200
            assert answer.headers["cache-control"] == "no-store"
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert "set-cookie" not in answer.headers
            assert "strict-transport-security" not in answer.headers


@pytest.mark.proves("TR-18")
async def test_an_https_server_insists_on_https(dsn):
    async with (
        serving(dsn, {"server": {"public_url": "https://mcp.example.org"}}) as server,
        server.http() as http,
    ):
        for path in (*ENDPOINTS, *PAGES, "/mcp", "/nothing", "/healthz"):
            assert "strict-transport-security" in (await http.get(path)).headers


@pytest.mark.proves("TR-13")
async def test_what_nobody_expected_is_a_server_error_without_details(dsn):
    async with serving(dsn) as server:
        flow = Flow(server)
        code, tokens = await flow.code(), await flow.tokens()
        postgres.query(dsn, "ALTER TABLE oauth_access_tokens RENAME TO renamed")
        ids = set()
        for answer in (
            await flow.exchange(code),
            await flow.refresh(tokens["refresh_token"]),
            await flow.post("/revoke", token=tokens["refresh_token"]),
        ):
            check_api_error(answer, 500, "server_error")
            assert set(answer.json()) == {"error", "error_description", "error_id"}
            assert answer.json()["error_id"] == answer.headers["x-request-id"]
            ids.add(answer.json()["error_id"])
            for told in ("oauth_access_tokens", "Traceback", "SELECT", code, "psycopg2"):
                assert told not in answer.text
        assert len(ids) == 3
        postgres.query(dsn, "ALTER TABLE renamed RENAME TO oauth_access_tokens")
        assert (await flow.exchange(code)).status_code == 200
        assert (await flow.refresh(tokens["refresh_token"])).status_code == 200


@pytest.mark.proves("TR-16")
async def test_configured_origins_may_read_every_answer(dsn):
    async with (
        serving(dsn, {"cors": {"origins": [APP]}}) as server,
        server.http(headers={"Origin": APP}) as http,
    ):
        for path in ENDPOINTS:
            preflight = await http.options(path)
            assert (preflight.status_code, preflight.content) == (204, b"")
            assert preflight.headers["access-control-allow-methods"] == "POST"
            assert preflight.headers["access-control-allow-headers"] == (
                "Authorization, Content-Type"
            )
            for answer in (preflight, await http.post(path), await http.get(path)):
                assert answer.headers["access-control-allow-origin"] == APP
                assert answer.headers["vary"] == "Origin"
                assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.proves("TR-16")
@pytest.mark.parametrize("origins", [[], ["https://other.example"], [APP + ":8443"]])
async def test_no_other_origin_may(dsn, origins):
    async with (
        serving(dsn, {"cors": {"origins": origins}}) as server,
        server.http(headers={"Origin": APP}) as http,
    ):
        for path in ENDPOINTS:
            for answer in (await http.options(path), await http.post(path)):
                assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.proves("TR-16")
async def test_any_origin_may_if_configured_so_but_never_with_cookies(dsn):
    async with (
        serving(dsn, {"cors": {"origins": ["*"]}}) as server,
        server.http(headers={"Origin": APP}) as http,
    ):
        for path in ENDPOINTS:
            for answer in (await http.options(path), await http.post(path)):
                assert answer.headers["access-control-allow-origin"] == "*"
                assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.proves("TR-16", "TR-11")
@pytest.mark.parametrize("origins", [[], [APP], ["*"]])
async def test_pages_say_nothing_about_other_origins(dsn, origins):
    async with (
        serving(dsn, {"cors": {"origins": origins}}) as server,
        server.http(headers={"Origin": APP}) as http,
    ):
        for path in PAGES:
            for method in ("OPTIONS", "GET", "POST"):
                answer = await http.request(method, path)
                assert not [name for name in answer.headers if name.startswith("access-control")]
                assert answer.headers["cache-control"] == "no-store"


@pytest.mark.proves("TR-19")
async def test_an_ambiguous_request_is_refused(dsn):
    ambiguous = (
        "",
        "Host: localhost\r\nHost: evil.example\r\n",
        "Host: localhost\r\nX-Folded: a\r\n b\r\n",
        "Host: localhost\r\nContent-Length: 4\r\n",
        "Host: localhost\r\nTransfer-Encoding: chunked\r\n",
        'Host: local"host\r\n',
    )
    async with serving(dsn) as server:
        for path, headers in itertools.product(ENDPOINTS, ambiguous):
            head = f"POST {path} HTTP/1.1\r\n{headers}Content-Length: 0\r\n\r\n"
            assert (await send(server.url, head.encode())).status == 400, headers


@pytest.mark.proves("TR-19", "BR-05")
async def test_two_authorization_headers_are_refused(dsn):
    good = list(basic(SECRET_CLIENT, SECRET).items())
    form = [("Content-Type", FORM)]
    body = b"token=x&grant_type=refresh_token&refresh_token=x"
    async with serving(dsn) as server, server.http() as http:
        with unchanged(dsn):
            for path in (*ENDPOINTS, "/mcp"):
                answer = await http.post(path, content=body, headers=form + good * 2)
                check_api_error(answer, 400, "invalid_request")
        assert (await http.post("/revoke", content=body, headers=form + good)).status_code == 200
