"""private_key_jwt (RFC 7523) at the endpoints that clients post to."""

import json
import time

import postgres
import pytest
from e2e.test_client_authentication import check_invalid_client
from serving import PUBLIC_CLIENT, SECRET_CLIENT, basic, serving
from signing import (
    KINDS,
    SIGNING_CLIENT,
    TYPE,
    assertion,
    check,
    fresh,
    good_claims,
    jwk,
    key_set,
    part,
    private_key,
    proof,
    settings,
    signed,
    signing_client,
    signing_flow,
)
from tables import unchanged

from mcpserve.oauth import clients

OTHER = "https://other.example"
NAMED = {"alg": "ES256", "kid": "ES256"}
KEY = private_key("ES256")


@pytest.mark.proves("CA-14")
@pytest.mark.parametrize("kind", [*KINDS, "Ed25519"])
async def test_a_signature_is_accepted_everywhere(dsn, kind):
    async with serving(dsn, settings()) as server:
        flow = signing_flow(server)
        answer = await flow.exchange(await flow.code(), **fresh(server, kind))
        assert answer.status_code == 200
        token = answer.json()["refresh_token"]
        answer = await flow.refresh(token, **fresh(server, kind))
        assert answer.status_code == 200
        token = answer.json()["refresh_token"]
        answer = await flow.post("/revoke", token=token, **fresh(server, kind))
        assert answer.status_code == 200
        again = await flow.refresh(token, **fresh(server, kind))
        assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")


@pytest.mark.proves("CA-14")
async def test_what_may_be_left_open_may_be(dsn):
    now = int(time.time())
    async with serving(dsn, settings()) as server:
        issuer = server.services.server.issuer
        for fields in (
            fresh(server, client_id=None) | {"client_id": None},
            proof(assertion(f"{issuer}/token")),
            proof(assertion(f"{issuer}/revoke")),
            proof(assertion(None, aud=[issuer])),
            proof(assertion(issuer, header={"kid": None})),
            proof(assertion(issuer, header={"typ": "client-authentication+jwt", "x": 1})),
            proof(assertion(issuer, iat=now - 3600, nbf=now - 3600)),
            proof(assertion(issuer, iat=None, exp=now + 590)),
            proof(assertion(issuer, iat=now + 50, nbf=now + 50, exp=now + 110)),
            proof(assertion(issuer, exp=now + 590)),
            proof(assertion(issuer, exp=now + 60.5, iat=now - 0.5)),
            proof(assertion(issuer, jti="j" * 200)),
            proof(assertion(issuer, more={"a": [1]})),
        ):
            assert (await check(server, fields)).status_code == 200, fields


@pytest.mark.proves("CA-14")
async def test_the_clock_is_the_databases(dsn, monkeypatch):
    real = time.time()
    monkeypatch.setattr(time, "time", lambda: real + 7200)
    async with serving(dsn, settings(), with_user=False) as server:
        now = int(real)
        assert (await check(server, fresh(server, iat=now, exp=now + 60))).status_code == 200
        check_invalid_client(await check(server, fresh(server)))


@pytest.mark.proves("CA-05")
async def test_a_signature_and_another_method_are_two(dsn):
    async with serving(dsn, settings()) as server:
        with unchanged(dsn):
            for fields in (
                fresh(server) | {"client_secret": "x"},
                fresh(server) | {"headers": basic(SIGNING_CLIENT, "x")},
                fresh(server) | {"headers": {"Authorization": "Bearer x"}},
                fresh(server) | {"headers": {"Authorization": ""}, "client_id": None},
                {"client_assertion_type": TYPE, "client_secret": "x"},
            ):
                answer = await check(server, fields)
                assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


@pytest.mark.proves("TR-04", "TR-07")
async def test_an_assertion_is_there_once_and_not_in_the_url(dsn):
    async with serving(dsn, settings(), with_user=False) as server, server.http() as http:
        fields = {"token": "x", **fresh(server)}
        for name in ("client_assertion", "client_assertion_type"):
            answer = await http.post("/revoke", data=fields | {name: [fields[name]] * 2})
            assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
        rest = {name: value for name, value in fields.items() if name != "client_assertion"}
        where = {"client_assertion": fields["client_assertion"]}
        answer = await http.post("/revoke", data=rest, params=where)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


@pytest.mark.proves("CA-14")
async def test_clients_do_not_use_up_each_others(dsn):
    other = signing_client(id="other-client")
    async with serving(dsn, settings(signing_client(), other), with_user=False) as server:
        for client_id in (SIGNING_CLIENT, "other-client"):
            own = {"iss": client_id, "sub": client_id, "jti": "same"}
            fields = fresh(server, **own) | {"client_id": None}
            assert (await check(server, fields)).status_code == 200
            check_invalid_client(await check(server, fields))


@pytest.mark.proves("CA-14")
async def test_a_refused_assertion_is_not_used_up(dsn):
    now = int(time.time())
    async with serving(dsn, settings(), with_user=False) as server:
        issuer = server.services.server.issuer
        for wrong in (
            {"aud": OTHER},
            {"exp": now - 1},
            {"iat": now + 3600},
            {"header": {"kid": "unknown"}},
            {"header": {"kid": "RS256"}},
        ):
            check_invalid_client(await check(server, fresh(server, jti="same", **wrong)))
        forged = signed(NAMED, good_claims(issuer, jti="same"), private_key("ES256", 1))
        check_invalid_client(await check(server, proof(forged)))
        assert (await check(server, fresh(server, jti="same"))).status_code == 200


@pytest.mark.proves("CA-10", "CA-14")
async def test_unknown_disabled_and_wrong_signatures_look_the_same(dsn):
    disabled = signing_client(id="disabled")
    async with serving(dsn, settings(signing_client(), disabled), with_user=False) as server:
        await clients.set_disabled(server.db, "disabled", disabled=True)
        seen = set()
        for client_id in ("nobody", "disabled", PUBLIC_CLIENT, SECRET_CLIENT):
            fields = fresh(server, iss=client_id, sub=client_id) | {"client_id": None}
            answer = await check(server, fields)
            check_invalid_client(answer)
            seen.add((answer.content, tuple(sorted(set(answer.headers) - {"date"}))))
        answer = await check(server, fresh(server, header={"kid": "RS256"}))
        check_invalid_client(answer)
        seen.add((answer.content, tuple(sorted(set(answer.headers) - {"date"}))))
        assert len(seen) == 1


@pytest.mark.proves("RL-01", "RL-02", "CA-14")
async def test_wrong_signatures_are_counted_and_right_ones_are_not(dsn):
    async with serving(dsn, settings(failures=3), with_user=False) as server:
        for _ in range(5):
            assert (await check(server, fresh(server))).status_code == 200
        for _ in range(3):
            check_invalid_client(await check(server, fresh(server, aud=OTHER)))
        for fields in (fresh(server, aud=OTHER), fresh(server)):
            answer = await check(server, fields)
            assert (answer.status_code, answer.json()["error"]) == (429, "temporarily_unavailable")
        postgres.query(dsn, "UPDATE rate_limits SET expires_at = clock_timestamp()")
        assert (await check(server, fresh(server))).status_code == 200


@pytest.mark.proves("CA-14")
async def test_only_good_keys_of_a_set_are_used(dsn):
    good = jwk(KEY, kid="good")
    short = private_key("RS256", bits=1024)
    sets = {
        "for encryption": key_set(jwk(KEY, kid="ES256", use="enc"), good),
        "for something else": key_set(jwk(KEY, kid="ES256", key_ops=["sign"]), good),
        "private": key_set(jwk(KEY, kid="ES256", private=True), good),
        "of another algorithm": key_set(jwk(KEY, kid="ES256", alg="ES384"), good),
        "two of one name": key_set(jwk(KEY, kid="ES256"), jwk(KEY, kid="ES256"), good),
        "symmetric": key_set({"kty": "oct", "k": part(b"k" * 32), "kid": "ES256"}, good),
        "too short": key_set(jwk(short, kid="ES256"), good),
        "no point of the curve": key_set(jwk(KEY, kid="ES256", x=part(b"x" * 32)), good),
        "too short numbers": key_set(jwk(KEY, kid="ES256", x="AA"), good),
        "no numbers": key_set({"kty": "EC", "crv": "P-256", "kid": "ES256"}, good),
        "odd numbers": key_set(jwk(KEY, kid="ES256", x=1, y=[2]), good),
        "odd members": {"keys": [1, None, [], {"kty": ["EC"], "key_ops": 5, "use": {}}, good]},
    }
    async with serving(dsn, settings(), with_user=False) as server:
        issuer = server.services.server.issuer
        for name, keys in sets.items():
            await give_keys(server, keys)
            check_invalid_client(await check(server, fresh(server)))
            answer = await check(server, fresh(server, header={"kid": "good"}))
            assert answer.status_code == 200, name
        await give_keys(server, sets["too short"])
        weak = signed({"alg": "RS256", "kid": "ES256"}, good_claims(issuer), short)
        check_invalid_client(await check(server, proof(weak)))


@pytest.mark.proves("CA-14")
async def test_without_a_kid_only_one_key_may_be_meant(dsn):
    nameless = {"header": {"kid": None}}
    async with serving(dsn, settings(), with_user=False) as server:
        await give_keys(server, key_set(*(jwk(private_key(kind)) for kind in KINDS)))
        for kind in KINDS:
            assert (await check(server, fresh(server, kind, **nameless))).status_code == 200
        await give_keys(server, key_set(jwk(KEY), jwk(private_key("ES256", 1))))
        check_invalid_client(await check(server, fresh(server, **nameless)))


async def give_keys(server, keys):
    await server.db.execute(
        "UPDATE oauth_clients SET jwks = %(keys)s WHERE client_id = %(id)s",
        keys=json.dumps(keys),
        id=SIGNING_CLIENT,
    )
