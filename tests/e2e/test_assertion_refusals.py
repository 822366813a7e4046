"""What does not prove a client that signs; all of it looks the same and uses up nothing."""

import hashlib
import hmac
import json
import logging
import time

import pytest
from e2e.test_client_authentication import check_invalid_client
from serving import PUBLIC_CLIENT, SECRET_CLIENT, basic, serving
from signing import (
    SIGNING_CLIENT,
    TYPE,
    assertion,
    check,
    fresh,
    good_claims,
    jwk,
    part,
    private_key,
    proof,
    settings,
    signed,
    signing_flow,
)
from tables import unchanged

OTHER = "https://other.example"
NAMED = {"alg": "ES256", "kid": "ES256"}
KEY = private_key("ES256")


async def check_refused(dsn, server, *attempts):
    """Present these with a good code and refresh token, which stay good."""
    flow = signing_flow(server)
    code = await flow.code()
    tokens = (await flow.exchange(await flow.code(), **fresh(server))).json()
    token = tokens["refresh_token"]
    seen = set()
    with unchanged(dsn):
        for fields in attempts:
            for answer in (
                await flow.exchange(code, **fields),
                await flow.refresh(token, **fields),
                await flow.post("/revoke", token=token, **fields),
            ):
                check_invalid_client(answer)
                seen.add((answer.content, tuple(sorted(set(answer.headers) - {"date"}))))
    assert len(seen) == 1
    assert (await flow.exchange(code, **fresh(server))).status_code == 200
    assert (await flow.refresh(token, **fresh(server))).status_code == 200


def with_hmac(issuer, secret):
    """Return an assertion made with what everybody knows of the key."""
    text = f"{part(NAMED | {'alg': 'HS256'})}.{part(good_claims(issuer))}"
    mac = hmac.new(secret, text.encode(), hashlib.sha256).digest()
    return f"{text}.{part(mac)}"


def public_pem():
    """Return the public key as it would be mistaken for a secret."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def changed(text, issuer):
    """Return the assertion with other claims under its signature."""
    header, _, signature = text.split(".")
    return f"{header}.{part(good_claims(issuer))}.{signature}"


def twice(issuer, name, value):
    """Return good claims in which one is there twice."""
    text = json.dumps(good_claims(issuer))
    return signed(NAMED, (text[:-1] + f', "{name}": {json.dumps(value)}}}').encode(), KEY)


def wrong_signatures(issuer):
    good, claims = assertion(issuer), good_claims(issuer)
    stranger = private_key("ES256", 1)
    return {
        "alg none": f"{part({'alg': 'none'})}.{part(claims)}.",
        "alg None, with a signature": signed(NAMED | {"alg": "None"}, claims, KEY),
        "no alg": signed({"kid": "ES256"}, claims, KEY),
        "alg of another kind": signed(NAMED | {"alg": "RS256"}, claims, KEY),
        "alg ES384": signed(NAMED | {"alg": "ES384"}, claims, KEY),
        "alg is a list": signed(NAMED | {"alg": ["ES256"]}, claims, KEY),
        "alg twice": signed(b'{"alg":"none","alg":"ES256"}', claims, KEY),
        "HS256 with the public key": with_hmac(issuer, public_pem()),
        "HS256 with the published key": with_hmac(issuer, json.dumps(jwk(KEY)).encode()),
        "HS256 with nothing": with_hmac(issuer, b""),
        "another key of the kind": signed(NAMED, claims, stranger),
        "another key, sent along": signed(
            {"alg": "ES256", "jwk": jwk(stranger), "jku": f"{OTHER}/jwks.json"}, claims, stranger
        ),
        "unsigned": good.rpartition(".")[0],
        "an empty signature": good.rpartition(".")[0] + ".",
        "the signature of another": ".".join(
            [*good.split(".")[:2], assertion(issuer).split(".")[2]]
        ),
        "changed claims": changed(good, issuer),
        "padding": good + "=",
        "five parts": good + ".a.b",
        "critical header": assertion(issuer, header={"crit": ["x"], "x": 1}),
        "critical b64": assertion(issuer, header={"crit": ["b64"], "b64": True}),
        "b64": assertion(issuer, header={"b64": False}),
        "garbage": "x",
        "garbage in three parts": "a.b.c",
        "a header that is no object": signed(b'"ES256"', claims, KEY),
        "claims that are no object": signed(NAMED, b"[]", KEY),
        "claims that are no JSON": signed(NAMED, b"iss", KEY),
        "claims that are not UTF-8": signed(NAMED, b'{"iss": "\xff"}', KEY),
        "deep claims": signed(NAMED, b"[" * 20000, KEY),
        "as large as a form may be": "A" * 30000 + "." + "B" * 30000 + ".C",
    }


KIDS = (
    "unknown",
    "",
    "RS256",
    "es256",
    "ES256 ",
    "../../../dev/null",
    "/dev/null",
    "ES256' OR '1'='1",
    "'; DROP TABLE oauth_clients; --",
    "https://evil.example/jwks.json",
    "\0",
    "\ud800",
    7,
    True,
    ["ES256"],
    {"kid": "ES256"},
)


def wrong_claims(issuer):
    return {
        "aud of another": {"aud": OTHER},
        "aud of the MCP endpoint": {"aud": f"{issuer}/mcp"},
        "aud of another endpoint": {"aud": f"{issuer}/authorize"},
        "aud with a slash": {"aud": f"{issuer}/"},
        "aud in upper case": {"aud": issuer.upper()},
        "aud as it is written in Host": {"aud": "http://127.0.0.1"},
        "two aud, both right": {"aud": [issuer, f"{issuer}/token"]},
        "two aud": {"aud": [issuer, OTHER]},
        "aud twice the same": {"aud": [issuer, issuer]},
        "no aud in a list": {"aud": []},
        "aud in lists": {"aud": [[issuer]]},
        "aud as an object": {"aud": {issuer: 1}},
        "iss of another": {"iss": SECRET_CLIENT},
        "sub of another": {"sub": SECRET_CLIENT},
        "another client": {"iss": SECRET_CLIENT, "sub": SECRET_CLIENT},
        "an unknown client": {"iss": "nobody", "sub": "nobody"},
        "iss in a list": {"iss": [SIGNING_CLIENT]},
        "a NUL in iss": {"iss": "a\0b", "sub": "a\0b"},
        "half a letter in iss": {"iss": "\ud800", "sub": "\ud800"},
        **{f"no {name}": {name: None} for name in ("iss", "sub", "aud", "exp", "jti")},
        "exp as text": {"exp": str(int(time.time()) + 60)},
        "exp true": {"exp": True},
        "exp for ever": {"exp": float("inf")},
        "exp not a number": {"exp": float("nan")},
        "exp beyond all calendars": {"exp": 10**300},
        "exp of endless digits": {"exp": 10**4000},
        "exp below zero": {"exp": -1},
        "iat not a number": {"iat": float("nan")},
        "iat before all calendars": {"iat": -(10**300)},
        "nbf as text": {"nbf": "0"},
        "jti a number": {"jti": 1},
        "jti too long": {"jti": "j" * 201},
        "jti empty": {"jti": ""},
        "a NUL in jti": {"jti": "a\0b"},
        "half a letter in jti": {"jti": "\ud800"},
    }


@pytest.mark.proves("CA-10", "CA-11", "CA-14")
async def test_a_wrong_signature_is_refused_and_uses_up_nothing(dsn):
    async with serving(dsn, settings()) as server:
        issuer = server.services.server.issuer
        attempts = [proof(text) for text in wrong_signatures(issuer).values()]
        attempts += [proof(assertion(issuer, header={"kid": kid})) for kid in KIDS]
        await check_refused(dsn, server, *attempts)


@pytest.mark.proves("CA-10", "CA-11", "CA-14")
async def test_wrong_claims_are_refused_and_use_up_nothing(dsn):
    async with serving(dsn, settings()) as server:
        issuer = server.services.server.issuer
        attempts = [
            proof(assertion(issuer, **claims), client_id=None)
            for claims in wrong_claims(issuer).values()
        ]
        attempts += [
            proof(twice(issuer, name, value), client_id=None)
            for name, value in (("iss", SECRET_CLIENT), ("aud", issuer), ("jti", "x"))
        ]
        await check_refused(dsn, server, *attempts)


@pytest.mark.proves("CA-14")
async def test_times_are_refused_that_are_past_or_too_far_ahead(dsn):
    now = int(time.time())
    async with serving(dsn, settings()) as server:
        issuer = server.services.server.issuer
        attempts = [
            proof(assertion(issuer, **claims))
            for claims in (
                {"exp": now - 1},
                {"exp": now - 1, "iat": now - 60},
                {"exp": 0},
                {"exp": now + 660},
                {"exp": now + 660, "iat": now - 60},
                {"exp": now + 660, "iat": None},
                {"exp": now + 86400},
                {"exp": now + 120, "iat": now + 90},
                {"exp": now + 120, "nbf": now + 90},
                {"exp": now + 1200, "iat": now + 900},
                {"exp": 253402300799},
            )
        ]
        await check_refused(dsn, server, *attempts)


WRONG = {
    "is wrong at exp, jti": {"exp": None, "jti": 1},
    "is about another": {"sub": PUBLIC_CLIENT},
    "is for somebody else": {"aud": OTHER},
    "names a key that it does not have": {"header": {"kid": "unknown"}},
    "was used before or is not good now": {"exp": 0},
}


@pytest.mark.parametrize("reason", WRONG)
async def test_the_log_says_of_which_client_an_assertion_is_and_why_it_is_refused(
    dsn, caplog, reason
):
    caplog.set_level(logging.INFO)
    async with serving(dsn, settings(), with_user=False) as server:
        issuer = server.services.server.issuer
        refused = proof(assertion(issuer, **WRONG[reason]), client_id=None)
        check_invalid_client(await check(server, refused))
    [line] = [text for text in caplog.messages if text.startswith("refused: ")]
    assert f"{SIGNING_CLIENT!r} {reason}" in line


@pytest.mark.proves("CA-14")
async def test_the_type_must_be_exact(dsn):
    async with serving(dsn, settings()) as server:
        wrong = (None, "", "jwt-bearer", TYPE.upper(), TYPE + " ", TYPE.replace("jwt", "saml2"))
        attempts = [fresh(server) | {"client_assertion_type": name} for name in wrong]
        attempts.append({"client_assertion": None, "client_assertion_type": TYPE})
        await check_refused(dsn, server, *attempts)


@pytest.mark.proves("CA-06", "CA-14")
async def test_the_client_id_must_be_the_one_that_signed(dsn):
    async with serving(dsn, settings()) as server:
        others = (PUBLIC_CLIENT, SECRET_CLIENT, "nobody", SIGNING_CLIENT.upper())
        attempts = [fresh(server) | {"client_id": other} for other in others]
        await check_refused(dsn, server, *attempts)


@pytest.mark.proves("CA-07", "CA-08", "CA-14")
async def test_only_a_signature_proves_the_client_and_it_proves_no_other(dsn):
    async with serving(dsn, settings()) as server:
        issuer = server.services.server.issuer
        nobody = {"client_id": None}
        await check_refused(
            dsn,
            server,
            {},
            {"client_secret": "x"},
            {"client_secret": assertion(issuer)},
            {"headers": basic(SIGNING_CLIENT, "x")} | nobody,
            {"headers": basic(SIGNING_CLIENT, "")} | nobody,
            *(
                fresh(server, iss=other, sub=other) | nobody
                for other in (PUBLIC_CLIENT, SECRET_CLIENT)
            ),
        )


@pytest.mark.proves("CA-14")
async def test_an_assertion_is_good_once(dsn):
    async with serving(dsn, settings()) as server:
        flow = signing_flow(server)
        used = fresh(server)
        assert (await flow.exchange(await flow.code(), **used)).status_code == 200
        await check_refused(dsn, server, used, fresh(server, jti="again") | used)
        assert (await check(server, fresh(server, jti="same"))).status_code == 200
        check_invalid_client(await check(server, fresh(server, jti="same")))
