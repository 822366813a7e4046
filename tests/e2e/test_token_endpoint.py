"""/token and /revoke as a protocol: how forms are read, in which order things are checked."""

import itertools
import re
from urllib.parse import urlencode

import pytest
from serving import PUBLIC_CLIENT, SECRET_CLIENT, Flow, serving
from tables import unchanged

from mcpserve import crypto

ENDPOINTS = ("/token", "/revoke")
FORM = "application/x-www-form-urlencoded"
DESCRIPTION = re.compile(r"[\x20-\x21\x23-\x5b\x5d-\x7e]+")
TOKEN_PARAMETERS = [
    "grant_type",
    "code",
    "code_verifier",
    "redirect_uri",
    "client_id",
    "client_secret",
    "refresh_token",
    "scope",
]
UNDECODABLE = (b"%", b"%4", b"%zz", b"%ff", b"%c3%28", b"\xff", "é".encode())
UNSUPPORTED = (
    "password",
    "client_credentials",
    "implicit",
    "token",
    "urn:ietf:params:oauth:grant-type:device_code",
    "urn:ietf:params:oauth:grant-type:jwt-bearer",
    "urn:ietf:params:oauth:grant-type:token-exchange",
    "Authorization_Code",
    "authorization_code ",
    "__class__",
    "é",
)
REVOKE_PARAMETERS = ["token", "token_type_hint", "client_id", "client_secret"]


def error(answer):
    return (answer.status_code, answer.json()["error"])


def good_form(flow: Flow, code: str) -> dict[str, str]:
    return {
        "grant_type": "authorization_code",
        "client_id": flow.client_id,
        "code": code,
        "code_verifier": flow.verifier,
        "redirect_uri": flow.redirect_uri,
    }


async def post(server, path, content, content_type=FORM):
    async with server.http() as http:
        headers = {"Content-Type": content_type} if content_type else {}
        return await http.post(path, content=content, headers=headers)


@pytest.mark.proves("TR-02")
async def test_only_a_form_is_read(dsn):
    async with serving(dsn) as server:
        flow = Flow(server)
        form = good_form(flow, await flow.code())
        body = urlencode(form | {"token": "x"})
        types = (
            None,
            "application/json",
            "text/plain",
            "multipart/form-data; boundary=x",
            f"application/json, {FORM}",
            f"{FORM}, application/json",
        )
        with unchanged(dsn):
            for path, content_type in itertools.product(ENDPOINTS, types):
                answer = await post(server, path, body, content_type)
                assert error(answer) == (400, "invalid_request"), content_type
        assert (await post(server, "/token", body)).status_code == 200


@pytest.mark.proves("TR-03")
async def test_the_media_type_is_read_in_any_case(dsn):
    async with serving(dsn) as server:
        flow = Flow(server)
        for content_type in ("Application/X-WWW-Form-URLEncoded; charset=UTF-8", f"{FORM};a=b"):
            body = urlencode(good_form(flow, await flow.code()))
            answer = await post(server, "/token", body, content_type)
            assert answer.status_code == 200
            body = urlencode({"client_id": PUBLIC_CLIENT, "token": answer.json()["access_token"]})
            assert (await post(server, "/revoke", body, content_type)).status_code == 200


@pytest.mark.proves("TR-04")
async def test_a_parameter_that_is_there_twice_is_refused(dsn):
    async with serving(dsn) as server:
        flow = Flow(server)
        form = good_form(flow, await flow.code())
        names = [("/token", name) for name in TOKEN_PARAMETERS]
        names += [("/revoke", name) for name in REVOKE_PARAMETERS]
        good = form | {"token": "x"}
        with unchanged(dsn):
            for path, name in names:
                value = good.get(name, "x")
                for first, second in ((value, value), (value, "other"), ("other", value)):
                    pairs = [pair for pair in good.items() if pair[0] != name]
                    body = urlencode([*pairs, (name, first), (name, second)])
                    answer = await post(server, path, body)
                    assert error(answer) == (400, "invalid_request"), name
        assert (await post(server, "/token", urlencode(form))).status_code == 200


@pytest.mark.proves("TR-05")
async def test_an_empty_parameter_counts_as_absent(dsn):
    async with serving(dsn) as server:
        flow = Flow(server)
        code = await flow.code()
        for name in ("grant_type", "code"):
            with unchanged(dsn):
                answer = await flow.exchange(code, **{name: ""})
            assert error(answer) == (400, "invalid_request")
        empty = {"client_secret": "", "scope": "", "resource": "", "redirect_uri": ""}
        tokens = await flow.exchange(code, **empty)
        assert tokens.json()["scope"] == "mcp.tools.call"
        answer = await flow.refresh("")
        assert error(answer) == (400, "invalid_request")
        answer = await flow.refresh(tokens.json()["refresh_token"], scope="", resource="")
        assert answer.json()["scope"] == "mcp.tools.call"


@pytest.mark.proves("TR-06")
async def test_unknown_parameters_are_ignored_even_twice(dsn):
    async with serving(dsn) as server:
        flow = Flow(server)
        form = good_form(flow, await flow.code())
        pairs = [*form.items(), ("audience", "x"), ("audience", "y"), ("nonsense", "")]
        tokens = await post(server, "/token", urlencode(pairs))
        assert tokens.status_code == 200
        pairs = [("client_id", PUBLIC_CLIENT), ("token", "x"), ("a", "1"), ("a", "2")]
        assert (await post(server, "/revoke", urlencode(pairs))).status_code == 200


@pytest.mark.proves("TR-07")
async def test_a_secret_in_the_url_is_refused(dsn):
    async with serving(dsn) as server:
        flow = Flow(server)
        form = good_form(flow, await flow.code())
        secrets = ("client_secret", "code", "code_verifier", "refresh_token", "token")
        with unchanged(dsn):
            for path, name in itertools.product(ENDPOINTS, secrets):
                query = urlencode({name: form.get(name, "x")})
                for body in (form | {"token": "x"}, {n: v for n, v in form.items() if n != name}):
                    answer = await post(server, f"{path}?{query}", urlencode(body))
                    assert error(answer) == (400, "invalid_request"), name
        assert (await post(server, "/token", urlencode(form))).status_code == 200


@pytest.mark.proves("TR-07")
async def test_a_harmless_query_changes_nothing(dsn):
    async with serving(dsn) as server:
        flow = Flow(server)
        form = good_form(flow, await flow.code())
        query = urlencode({"grant_type": "x", "client_id": "x", "redirect_uri": "x", "scope": "x"})
        assert (await post(server, f"/token?{query}", urlencode(form))).status_code == 200


@pytest.mark.proves("TR-08")
async def test_values_are_taken_as_they_are(dsn):
    async with serving(dsn) as server:
        flow = Flow(server)
        code = await flow.code()
        names = ("code", "code_verifier", "redirect_uri", "client_id", "unknown")
        with unchanged(dsn):
            for changed in (f" {code}", f"{code} ", f"+{code}", f"{code}\u200b", code.upper()):
                assert error(await flow.exchange(changed)) == (400, "invalid_grant")
            for bad, name in itertools.product(("\0{}", "{}\0", "{}\n", "{}\x7f"), names):
                answer = await flow.exchange(code, **{name: bad.format(code)})
                assert error(answer) == (400, "invalid_request"), name
        for token in ("a\0b", "\n"):
            assert error(await flow.post("/revoke", token=token)) == (400, "invalid_request")
        assert (await flow.exchange(code)).status_code == 200


@pytest.mark.proves("TR-09")
async def test_what_cannot_be_decoded_is_refused(dsn):
    good = urlencode({"client_id": PUBLIC_CLIENT, "grant_type": "x", "token": "x"}).encode()
    async with serving(dsn) as server:
        with unchanged(dsn):
            for path, bad in itertools.product(ENDPOINTS, UNDECODABLE):
                answer = await post(server, path, good + b"&a=" + bad)
                assert error(answer) == (400, "invalid_request"), bad
                answer = await post(server, f"{path}?a={bad.decode('ascii', 'ignore')}%ff", good)
                assert error(answer) == (400, "invalid_request"), bad


@pytest.mark.proves("TR-15")
async def test_descriptions_are_plain_and_echo_nothing(dsn):
    canary = 'zZz"\\<script>\u00e9'
    async with serving(dsn) as server:
        flow = Flow(server)
        tokens = await flow.tokens()
        code = await flow.code()
        names = [*TOKEN_PARAMETERS, "resource", "client_assertion", canary]
        answers = [await flow.exchange(code, **{name: canary}) for name in names]
        answers += [await flow.refresh(tokens["refresh_token"], **{name: canary}) for name in names]
        answers += [await flow.post("/revoke", **{name: canary}) for name in REVOKE_PARAMETERS]
        refused = [answer for answer in answers if answer.status_code != 200]
        assert len(refused) > 20
        for answer in refused:
            assert DESCRIPTION.fullmatch(answer.json()["error_description"])
            assert "zZz" not in answer.text + str(answer.headers)


@pytest.mark.proves("TK-01")
async def test_another_grant_type_is_unsupported(dsn):
    async with serving(dsn) as server:
        flow = Flow(server)
        code = await flow.code()
        with unchanged(dsn):
            for grant_type in UNSUPPORTED:
                answer = await flow.exchange(code, grant_type=grant_type)
                assert error(answer) == (400, "unsupported_grant_type"), grant_type


@pytest.mark.proves("TK-01")
async def test_no_grant_type_is_an_invalid_request(dsn):
    async with serving(dsn) as server:
        flow = Flow(server)
        code = await flow.code()
        with unchanged(dsn):
            answer = await flow.exchange(code, grant_type=None)
        assert error(answer) == (400, "invalid_request")


@pytest.mark.proves("TK-02", "TK-03")
async def test_a_success_says_exactly_this(dsn):
    async with serving(dsn, {"oauth": {"access_token_lifetime": "5m"}}) as server:
        flow = Flow(server)
        first = await flow.exchange(await flow.code())
        second = await flow.refresh(first.json()["refresh_token"])
        for answer in (first, second):
            body = answer.json()
            assert answer.status_code == 200
            assert re.fullmatch(r"mcps_at_[A-Za-z0-9_-]{43}", body.pop("access_token"))
            assert re.fullmatch(r"mcps_rt_[A-Za-z0-9_-]{43}", body.pop("refresh_token"))
            assert body.pop("expires_in") in (299, 300)
            assert body == {"token_type": "Bearer", "scope": "mcp.tools.call"}


@pytest.mark.proves("TK-04")
def test_tokens_have_256_random_bits():
    tokens = [crypto.new_token(crypto.ACCESS_TOKEN) for _ in range(1000)]
    bodies = [token.removeprefix("mcps_at_") for token in tokens]
    assert len(set(bodies)) == 1000
    for position in range(42):  # the last character holds four bits only
        assert len({body[position] for body in bodies}) > 50


@pytest.mark.proves("TK-01", "AC-05")
async def test_the_order_of_checks(dsn):
    async with serving(dsn) as server:
        flow = Flow(server).confidential()
        code = await flow.code()
        wrong = {"client_secret": "wrong"}
        with unchanged(dsn):
            twice = urlencode([("scope", "a"), ("scope", "a"), ("client_id", SECRET_CLIENT)])
            # duplicates before client authentication
            assert error(await post(server, "/token", twice)) == (400, "invalid_request")
            # client authentication before the grant type
            answer = await flow.token(grant_type="x", **wrong)
            assert error(answer) == (401, "invalid_client")
            answer = await flow.token(**wrong)
            assert error(answer) == (401, "invalid_client")
            # the grant type before its parameters
            answer = await flow.token(grant_type="x")
            assert error(answer) == (400, "unsupported_grant_type")
            # the parameters before the grant
            answer = await flow.token(grant_type="authorization_code")
            assert error(answer) == (400, "invalid_request")
            # the grant before the resource
            answer = await flow.exchange("x", resource="https://evil.example")
            assert error(answer) == (400, "invalid_grant")
            answer = await flow.exchange(code, resource="https://evil.example")
            assert error(answer) == (400, "invalid_target")
        assert (await flow.exchange(code)).status_code == 200
