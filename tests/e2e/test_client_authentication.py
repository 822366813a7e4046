"""Client authentication at the endpoints that clients post to."""

import time
from base64 import b64encode

import bcrypt
import pytest
from serving import CALLBACK, PUBLIC_CLIENT, SECRET, SECRET_CLIENT, Flow, basic, serving
from tables import unchanged

from mcpserve import crypto
from mcpserve.oauth import clients
from mcpserve.oauth.store.clients import Client

ENDPOINTS = ("/token", "/revoke", "/introspect")
CHALLENGE = 'Basic realm="mcpserve", charset="UTF-8"'
NOBODY = {"client_id": None, "client_secret": None}


def check_invalid_client(answer):
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    assert answer.headers["www-authenticate"] == CHALLENGE
    assert answer.headers["cache-control"] == "no-store"


async def check_refused_everywhere(dsn, flow, *attempts):
    """Present a good code and good tokens with these headers and forms; they stay good."""
    code, tokens = await flow.code(), await flow.tokens()
    token = tokens["refresh_token"]
    with unchanged(dsn):
        for headers, form in attempts:
            check_invalid_client(await flow.exchange(code, headers=headers, **form))
            check_invalid_client(await flow.refresh(token, headers=headers, **form))
            check_invalid_client(await flow.post("/revoke", headers=headers, token=token, **form))
    assert (await flow.exchange(code)).status_code == 200
    assert (await flow.refresh(token)).status_code == 200


@pytest.mark.proves("CA-01")
async def test_a_public_client_names_itself_in_the_body(dsn):
    async with serving(dsn) as server:
        tokens = await Flow(server).tokens()
        answer = await Flow(server).post("/revoke", token=tokens["access_token"])
        assert answer.status_code == 200


@pytest.mark.proves("CA-01", "CA-07", "CA-09")
async def test_a_public_client_with_a_secret_is_refused(dsn):
    async with serving(dsn) as server:
        await check_refused_everywhere(
            dsn,
            Flow(server),
            ({}, {"client_secret": "x"}),
            ({}, {"client_secret": SECRET}),
            (basic(PUBLIC_CLIENT, ""), NOBODY),
            (basic(PUBLIC_CLIENT, "x"), NOBODY),
        )


@pytest.mark.proves("CA-02", "CA-06", "CA-07")
@pytest.mark.parametrize("with_id", [True, False])
async def test_a_secret_is_accepted_in_the_header(dsn, with_id):
    async with serving(dsn) as server:
        flow = Flow(server).confidential()
        form = NOBODY | ({"client_id": SECRET_CLIENT} if with_id else {})
        headers = basic(SECRET_CLIENT, SECRET)
        tokens = await flow.exchange(await flow.code(), headers=headers, **form)
        assert tokens.status_code == 200
        token = tokens.json()["refresh_token"]
        token = (await flow.refresh(token, headers=headers, **form)).json()["refresh_token"]
        answer = await flow.post("/revoke", headers=headers, token=token, **form)
        assert answer.status_code == 200


@pytest.mark.proves("CA-04", "CA-07")
async def test_a_client_may_change_between_header_and_body(dsn):
    async with serving(dsn) as server:
        flow = Flow(server).confidential()
        tokens = await flow.tokens()
        headers = basic(SECRET_CLIENT, SECRET)
        answer = await flow.refresh(tokens["refresh_token"], headers=headers, **NOBODY)
        assert (await flow.refresh(answer.json()["refresh_token"])).status_code == 200


@pytest.mark.proves("CA-08", "CA-11", "CA-09")
async def test_a_confidential_client_needs_its_secret(dsn):
    wrong = (None, "", "x", SECRET + " ", SECRET.upper(), SECRET.replace("+", " "), SECRET[:-1])
    async with serving(dsn) as server:
        attempts = [({}, {"client_secret": secret}) for secret in wrong]
        attempts += [(basic(SECRET_CLIENT, secret or ""), NOBODY) for secret in wrong]
        await check_refused_everywhere(dsn, Flow(server).confidential(), *attempts)


@pytest.mark.proves("CA-03", "CA-09")
async def test_a_bad_header_is_refused(dsn):
    pairs = (
        b"no colon",
        b":secret",
        b"secret-client:%zz",
        b"secret-client:\xff",
        b"secret-client:%ff",
        b"secret-client:%00",
        # Not form-encoded: the plus would have to be %2B.
        b"secret-client:a+b c%25%C3%A9%3Ax",
    )
    bad = [f"Basic {b64encode(pair).decode()}" for pair in pairs]
    bad += ["", "Basic", "Basic !!", f"Bearer {b64encode(b'secret-client:x').decode()}", "Digest x"]
    async with serving(dsn) as server:
        attempts = [({"Authorization": header}, NOBODY) for header in bad]
        named = {"client_id": SECRET_CLIENT, "client_secret": None}
        attempts.append(({"Authorization": "Bearer x"}, named))
        await check_refused_everywhere(dsn, Flow(server).confidential(), *attempts)


@pytest.mark.proves("CA-05")
async def test_two_methods_are_refused_even_if_both_are_right(dsn):
    async with serving(dsn) as server:
        flow = Flow(server).confidential()
        code, tokens = await flow.code(), await flow.tokens()
        headers = basic(SECRET_CLIENT, SECRET)
        with unchanged(dsn):
            for form in ({}, {"client_id": None}, {"client_secret": None, "client_assertion": "x"}):
                for answer in (
                    await flow.exchange(code, headers=headers, **form),
                    await flow.refresh(tokens["refresh_token"], headers=headers, **form),
                    await flow.post("/revoke", token="x", headers=headers, **form),
                ):
                    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
        assert (await flow.exchange(code)).status_code == 200


@pytest.mark.proves("CA-06")
async def test_header_and_body_must_name_one_client(dsn):
    async with serving(dsn) as server:
        flow = Flow(server).confidential()
        code = await flow.code()
        headers = basic(SECRET_CLIENT, SECRET)
        form = {"client_id": PUBLIC_CLIENT, "client_secret": None}
        with unchanged(dsn):
            for answer in (
                await flow.exchange(code, headers=headers, **form),
                await flow.post("/revoke", token="x", headers=headers, **form),
            ):
                assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
        assert (await flow.exchange(code)).status_code == 200


@pytest.mark.proves("CA-08", "CA-09")
async def test_no_client_or_an_unknown_one_is_refused(dsn):
    async with serving(dsn) as server:
        forms = [{"client_id": client_id} for client_id in (None, "", "nobody", "é", "x" * 9000)]
        await check_refused_everywhere(dsn, Flow(server), *(({}, form) for form in forms))


@pytest.mark.proves("CA-10", "CA-12")
async def test_a_secret_that_we_made_is_no_faster_to_get_wrong(dsn, monkeypatch):
    made = crypto.new_token(crypto.CLIENT_SECRET)
    async with serving(dsn, with_user=False) as server:
        client = Client(
            client_id="made",
            name="Made",
            redirect_uris=(CALLBACK,),
            auth_methods=clients.SECRET_METHODS,
            origin="cli",
            secret_hash=crypto.hash_generated_secret(made),
        )
        await clients.add(server.db, client, replace=False)
        checked = []
        real = bcrypt.checkpw
        monkeypatch.setattr(bcrypt, "checkpw", lambda *given: checked.append(given) or real(*given))
        right = await Flow(server, client_id="made", secret=made).post("/revoke", token="x")
        assert (right.status_code, checked) == (200, [])
        check_invalid_client(await Flow(server, client_id="made", secret="wrong").post("/revoke"))
        assert len(checked) == 1


@pytest.mark.proves("CA-10")
async def test_unknown_disabled_and_wrong_look_the_same(dsn):
    disabled = {"id": "disabled", "redirect_uris": [CALLBACK], "secret": SECRET}
    public = {"id": PUBLIC_CLIENT, "redirect_uris": [CALLBACK]}
    confidential = {"id": SECRET_CLIENT, "redirect_uris": [CALLBACK], "secret": SECRET}
    settings = {"oauth": {"clients": {"configured": [disabled, public, confidential]}}}
    async with serving(dsn, settings) as server:
        await clients.set_disabled(server.db, "disabled", disabled=True)
        flow = Flow(server)
        seen = set()
        for path in ENDPOINTS:
            for client_id, secret in (
                ("nobody", None),
                ("nobody", SECRET),
                ("disabled", SECRET),
                ("disabled", "wrong"),
                (SECRET_CLIENT, "wrong"),
                (SECRET_CLIENT, None),
                (PUBLIC_CLIENT, "wrong"),
            ):
                form = {"client_id": client_id, "client_secret": secret, "token": "x"}
                answer = await flow.post(path, **form)
                check_invalid_client(answer)
                seen.add((answer.content, tuple(sorted(set(answer.headers) - {"date"}))))
        assert len(seen) == 1


@pytest.mark.proves("CA-10")
@pytest.mark.parametrize("client_id", ["nobody", PUBLIC_CLIENT, SECRET_CLIENT])
async def test_a_wrong_secret_costs_a_hash_whoever_is_named(dsn, client_id):
    # A hash of this cost takes some 60 ms on any machine; the rest of a request takes a few.
    async with serving(dsn, {"login": {"bcrypt_rounds": 10}}, with_user=False) as server:
        fastest = 1.0
        for _ in range(3):
            started = time.perf_counter()
            answer = await Flow(server, client_id=client_id, secret="wrong").post("/token")
            fastest = min(fastest, time.perf_counter() - started)
            check_invalid_client(answer)
        assert fastest > 0.025


@pytest.mark.proves("CA-07", "CA-10")
@pytest.mark.parametrize("method", clients.SECRET_METHODS)
async def test_a_secret_proves_nothing_by_a_method_that_is_not_registered(dsn, method):
    async with serving(dsn, with_user=False) as server:
        await server.db.execute(
            "UPDATE oauth_clients SET auth_methods = %(methods)s WHERE client_id = %(id)s",
            methods=[method],
            id=SECRET_CLIENT,
        )
        in_body = await Flow(server).confidential().post("/revoke", token="x")
        headers = basic(SECRET_CLIENT, SECRET)
        in_header = await Flow(server).post("/revoke", token="x", headers=headers, **NOBODY)
        answers = [in_header, in_body]
        registered = answers.pop(clients.SECRET_METHODS.index(method))
        assert registered.status_code == 200
        check_invalid_client(answers[0])
