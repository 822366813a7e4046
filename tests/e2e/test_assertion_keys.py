"""Clients that sign and publish their keys at a ``jwks_uri``: fetching, rotation, failures."""

import asyncio

import postgres
import pytest
from e2e.test_client_authentication import check_invalid_client
from postgres_proxy import proxy
from serving import serving
from signing import (
    KINDS,
    PUBLISHED_AT,
    Published,
    assertion,
    check,
    fresh,
    good_claims,
    jwk,
    key_set,
    private_key,
    proof,
    settings,
    signed,
    signing_client,
    signing_flow,
)

OLD = "UPDATE oauth_documents SET fetched_at = fetched_at - interval '61 s'"
STALE = f"{OLD}, fresh_until = clock_timestamp() - interval '1 s'"


def published(keys=None):
    return Published({PUBLISHED_AT: keys or key_set()})


def opened(dsn, fetcher, **options):
    configured = settings(signing_client(jwks_uri=PUBLISHED_AT), **options)
    return serving(dsn, configured, with_user=False, fetcher=fetcher)


def check_unavailable(answer):
    assert (answer.status_code, answer.json()["error"]) == (503, "temporarily_unavailable")
    assert int(answer.headers["retry-after"]) > 0
    # A client that is told anything else drops its tokens.
    assert "www-authenticate" not in answer.headers


def new_key(server, number=1, **claims):
    """Return what the client sends after it got a new key."""
    key = private_key("ES256", number)
    header = {"alg": "ES256", "kid": f"new-{number}"}
    return proof(signed(header, good_claims(server.services.server.issuer, **claims), key))


def rotated(number=1):
    """Return what it publishes then."""
    return key_set(*key_set()["keys"], jwk(private_key("ES256", number), kid=f"new-{number}"))


@pytest.mark.proves("CA-14")
@pytest.mark.parametrize("kind", KINDS)
async def test_published_keys_are_fetched_once(dsn, kind):
    fetcher = published()
    async with serving(
        dsn, settings(signing_client(jwks_uri=PUBLISHED_AT)), fetcher=fetcher
    ) as server:
        flow = signing_flow(server)
        answer = await flow.exchange(await flow.code(), **fresh(server, kind))
        assert answer.status_code == 200
        postgres.query(dsn, OLD)
        answer = await flow.refresh(answer.json()["refresh_token"], **fresh(server, kind))
        assert answer.status_code == 200
        assert fetcher.fetched == [PUBLISHED_AT]


@pytest.mark.proves("CA-14")
async def test_a_new_key_is_looked_for_once(dsn):
    fetcher = published()
    async with opened(dsn, fetcher) as server:
        assert (await check(server, fresh(server))).status_code == 200
        fetcher.documents[PUBLISHED_AT] = rotated()
        check_invalid_client(await check(server, new_key(server)))
        assert len(fetcher.fetched) == 1  # It was fetched less than a minute ago.
        postgres.query(dsn, OLD)
        assert (await check(server, new_key(server))).status_code == 200
        assert (await check(server, fresh(server))).status_code == 200
        assert len(fetcher.fetched) == 2
        for number in range(5):
            check_invalid_client(await check(server, new_key(server, number + 2)))
        assert len(fetcher.fetched) == 2


@pytest.mark.proves("CA-14")
async def test_a_key_that_is_not_published_any_more_is_refused(dsn):
    fetcher = published(rotated())
    async with opened(dsn, fetcher) as server:
        assert (await check(server, new_key(server))).status_code == 200
        fetcher.documents[PUBLISHED_AT] = key_set()
        postgres.query(dsn, STALE)
        check_invalid_client(await check(server, new_key(server)))
        assert (await check(server, fresh(server))).status_code == 200


@pytest.mark.proves("CA-14")
async def test_an_older_copy_serves_while_the_client_is_away(dsn):
    fetcher = published()
    async with opened(dsn, fetcher) as server:
        assert (await check(server, fresh(server))).status_code == 200
        fetcher.documents.clear()
        postgres.query(dsn, STALE)
        assert (await check(server, fresh(server))).status_code == 200
        assert len(fetcher.fetched) == 2
        # Whether a new key is the client's, nobody can tell now; the keys we have are not it.
        check_invalid_client(await check(server, new_key(server)))


@pytest.mark.proves("CA-14", "TR-14")
@pytest.mark.parametrize("document", [None, [], {}, {"keys": {}}, "keys"])
async def test_without_any_copy_the_client_is_told_to_wait(dsn, document):
    fetcher = Published({} if document is None else {PUBLISHED_AT: document})
    async with opened(dsn, fetcher) as server:
        kept = fresh(server)
        check_unavailable(await check(server, kept))
        fetcher.documents[PUBLISHED_AT] = key_set()
    async with opened(dsn, fetcher) as server:  # Which has not failed lately.
        assert (await check(server, fresh(server))).status_code == 200


@pytest.mark.proves("CA-14")
async def test_what_strangers_take_for_a_document_keeps_nobody_from_the_keys(dsn):
    fetcher = published()
    hosts = {"metadata_documents": {"hosts": ["*"]}}
    configured = settings(signing_client(jwks_uri=PUBLISHED_AT))
    configured["oauth"]["clients"] |= hosts
    async with serving(dsn, configured, with_user=False, fetcher=fetcher) as server:
        async with server.http() as http:
            asked = await http.get("/authorize", params={"client_id": PUBLISHED_AT})
        assert (asked.status_code, len(fetcher.fetched)) == (400, 1)
        assert (await check(server, fresh(server))).status_code == 200


@pytest.mark.proves("RL-01", "CA-14")
async def test_failures_are_limited_before_anything_is_fetched(dsn):
    fetcher = published()
    async with opened(dsn, fetcher, failures=3) as server:
        for _ in range(3):
            check_invalid_client(await check(server, fresh(server, aud="https://other.example")))
        assert (await check(server, fresh(server))).status_code == 429
        assert fetcher.fetched == []


@pytest.mark.proves("RL-01", "CA-14")
async def test_keys_that_cannot_be_had_are_a_failure(dsn):
    async with opened(dsn, Published({}), failures=3) as server:
        for _ in range(3):
            check_unavailable(await check(server, fresh(server)))
        assert (await check(server, fresh(server))).status_code == 429


@pytest.mark.proves("CA-14")
async def test_an_assertion_for_somebody_else_fetches_nothing(dsn):
    fetcher = published()
    async with opened(dsn, fetcher) as server:
        for text in (
            assertion("https://other.example"),
            assertion(server.services.server.issuer, header={"alg": "HS256"}),
            assertion(server.services.server.issuer, header={"crit": ["x"]}),
            assertion(server.services.server.issuer, jti=None),
        ):
            check_invalid_client(await check(server, proof(text)))
        assert fetcher.fetched == []


@pytest.mark.proves("CA-14", "TR-14")
async def test_without_the_database_a_client_that_signs_is_told_to_wait(dsn):
    async with proxy(dsn) as network, opened(network.dsn, published()) as server:
        assert (await check(server, fresh(server))).status_code == 200
        for part in (b"FROM oauth_documents", b"INSERT INTO oauth_client_assertions"):
            network.cut_before = part
            answer = await check(server, fresh(server))
            network.cut_before = None
            assert answer.status_code in (200, 503)
            assert (await check(server, fresh(server))).status_code == 200
        await network.stop()
        check_unavailable(await check(server, fresh(server)))


@pytest.mark.proves("CA-14")
async def test_of_twenty_at_once_one_is_let_in(dsn):
    async with opened(dsn, published()) as server:
        for _ in range(3):
            fields = fresh(server)
            answers = await asyncio.gather(*(check(server, fields) for _ in range(20)))
            assert sorted(answer.status_code for answer in answers) == [200] + [401] * 19
