"""Discovery: the well-known documents over HTTP, and whether what they promise is true."""

from urllib.parse import urlsplit

import pytest
from mcp.shared.auth import OAuthMetadata, ProtectedResourceMetadata
from serving import CALLBACK, CLIENTS, PUBLIC_CLIENT, SECRET, SECRET_CLIENT, Flow, basic, serving
from signing import SIGNING_CLIENT, fresh, signing_client

WELL_KNOWN = "/.well-known"
AUTHORIZATION_SERVER = [
    f"{WELL_KNOWN}/oauth-authorization-server",
    f"{WELL_KNOWN}/oauth-authorization-server/mcp",
]
OPENID = [
    f"{WELL_KNOWN}/openid-configuration",
    f"{WELL_KNOWN}/openid-configuration/mcp",
    f"/mcp{WELL_KNOWN}/openid-configuration",
]
RESOURCE = [f"{WELL_KNOWN}/oauth-protected-resource", f"{WELL_KNOWN}/oauth-protected-resource/mcp"]
DOCUMENTS = [*AUTHORIZATION_SERVER, *OPENID, *RESOURCE, f"{WELL_KNOWN}/jwks.json"]
ISSUER = "https://mcp.example.org"
PUBLIC = {"server": {"public_url": ISSUER}}


@pytest.mark.proves("MD-01", "MD-09", "TR-16")
async def test_a_document_is_public_json_that_may_be_kept_for_a_while(dsn):
    async with serving(dsn, PUBLIC) as server, server.http() as http:
        for path in DOCUMENTS:
            answer = await http.get(path)
            assert answer.status_code == 200, path
            assert answer.headers["content-type"] == "application/json"
            assert answer.headers["cache-control"] == "public, max-age=300"
            assert answer.headers["access-control-allow-origin"] == "*"
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert "access-control-allow-credentials" not in answer.headers
            assert "set-cookie" not in answer.headers
            assert "server" not in answer.headers


@pytest.mark.proves("MD-02", "MD-06", "MD-08", "MD-01")
async def test_one_document_is_the_same_at_all_its_places(dsn):
    async with serving(dsn, PUBLIC) as server, server.http() as http:
        for places in (AUTHORIZATION_SERVER, OPENID, RESOURCE):
            assert len({(await http.get(path)).content for path in places}) == 1
        authorization_server = (await http.get(AUTHORIZATION_SERVER[0])).json()
        openid = (await http.get(OPENID[0])).json()
        assert authorization_server.items() <= openid.items()
        assert authorization_server["issuer"] == ISSUER
        assert (await http.get(urlsplit(openid["jwks_uri"]).path)).json() == {"keys": []}
        resource = (await http.get(RESOURCE[0])).json()
        assert resource["resource"] == f"{ISSUER}/mcp"
        assert resource["authorization_servers"] == [ISSUER]


@pytest.mark.proves("MD-11")
async def test_the_sdk_reads_the_documents(dsn):
    async with serving(dsn, PUBLIC) as server, server.http() as http:
        for path in (*AUTHORIZATION_SERVER, *OPENID):
            OAuthMetadata.model_validate_json((await http.get(path)).content)
        for path in RESOURCE:
            ProtectedResourceMetadata.model_validate_json((await http.get(path)).content)


@pytest.mark.proves("MD-07")
async def test_no_header_of_a_request_changes_a_byte(dsn):
    async with serving(dsn, PUBLIC) as server, server.http() as http:
        for path in DOCUMENTS:
            plain = await http.get(path, headers={"Host": "mcp.example.org"})
            for headers in (
                {"Host": "localhost"},
                {"Host": "127.0.0.1:1"},
                {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "http"},
                {"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Port": "1", "X-Scheme": "http"},
                {"Forwarded": "host=evil.example;proto=http", "X-Original-URL": "/"},
            ):
                answer = await http.get(path, headers=headers)
                assert (answer.content, answer.headers["etag"]) == (
                    plain.content,
                    plain.headers["etag"],
                )


@pytest.mark.proves("MD-07", "TR-17")
async def test_another_host_gets_no_document_and_no_echo(dsn):
    async with serving(dsn, PUBLIC) as server, server.http() as http:
        for path in (*DOCUMENTS, "/token", "/nothing"):
            answer = await http.get(path, headers={"Host": "evil.example"})
            assert answer.status_code in (404, 421)
            assert "evil" not in answer.text + str(answer.headers)
            assert "mcp.example.org" not in answer.text


@pytest.mark.proves("MD-09")
async def test_a_document_that_is_known_is_not_sent_again(dsn):
    async with serving(dsn) as server, server.http() as http:
        for path in DOCUMENTS:
            etag = (await http.get(path)).headers["etag"]
            for known in (etag, f'"other", {etag}', "*", f"W/{etag}"):
                again = await http.get(path, headers={"If-None-Match": known})
                assert (again.status_code, again.content) == (304, b"")
                assert again.headers["etag"] == etag
            other = await http.get(path, headers={"If-None-Match": '"other"'})
            assert other.status_code == 200


@pytest.mark.proves("MD-09")
async def test_the_etag_changes_with_the_document(dsn):
    async with (
        serving(dsn, PUBLIC) as server,
        serving(dsn, with_user=False) as other,
        server.http() as http,
        other.http() as other_http,
    ):
        for path in DOCUMENTS[:-1]:
            one, two = await http.get(path), await other_http.get(path)
            assert one.content != two.content
            assert one.headers["etag"] != two.headers["etag"]


@pytest.mark.proves("MD-10")
async def test_head_answers_as_get_without_a_body(dsn):
    async with serving(dsn) as server, server.http() as http:
        for path in DOCUMENTS:
            whole, head = await http.get(path), await http.head(path)
            assert (head.status_code, head.content) == (200, b"")
            for name in ("content-length", "content-type", "etag", "cache-control"):
                assert head.headers[name] == whole.headers[name]


@pytest.mark.proves("TR-16")
async def test_a_preflight_of_a_document_is_answered(dsn):
    async with serving(dsn) as server, server.http() as http:
        for path in DOCUMENTS:
            answer = await http.options(path, headers={"Origin": "https://any.example"})
            assert (answer.status_code, answer.content) == (204, b"")
            assert answer.headers["access-control-allow-origin"] == "*"
            assert "GET" in answer.headers["access-control-allow-methods"]
            assert answer.headers["access-control-allow-headers"] == "MCP-Protocol-Version"


async def test_a_document_cannot_be_written(dsn):
    async with serving(dsn) as server, server.http() as http:
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            answer = await http.request(method, AUTHORIZATION_SERVER[0])
            assert answer.status_code == 405
            assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}


@pytest.mark.proves("MD-10", "TR-20")
async def test_what_is_not_there_is_a_404_in_json_and_no_redirect(dsn):
    async with serving(dsn) as server, server.http() as http:
        for path in (
            *(f"{path}/" for path in DOCUMENTS),
            WELL_KNOWN,
            f"{WELL_KNOWN}/",
            f"{WELL_KNOWN}/unknown",
            f"{WELL_KNOWN}/oauth-authorization-server/other",
            f"{WELL_KNOWN}/oauth-authorization-serverx",
            f"/mcp{WELL_KNOWN}/oauth-authorization-server",
            f"/x{WELL_KNOWN}/openid-configuration",
            "/token/",
            "/revoke/",
            "/mcp/",
            "/register/",
            "/introspect/",
            "/userinfo/",
        ):
            for method in ("GET", "POST", "OPTIONS"):
                answer = await http.request(method, path)
                assert answer.status_code == 404, path
                assert answer.headers["content-type"].startswith("application/json")
                assert answer.headers["cache-control"] == "no-store"
                assert "location" not in answer.headers
                assert answer.json()["error"] == "not_found"
            assert (await http.head(path)).status_code == 404


@pytest.mark.proves("MD-04")
async def test_every_advertised_endpoint_answers(dsn):
    async with serving(dsn) as server, server.http() as http:
        issuer = server.services.server.issuer
        metadata = (await http.get(OPENID[0])).json()
        places = {name: value for name, value in metadata.items() if str(value).startswith(issuer)}
        paths = {name: value.removeprefix(issuer) for name, value in places.items()}
        assert paths == {
            "issuer": "",
            "authorization_endpoint": "/authorize",
            "token_endpoint": "/token",
            "revocation_endpoint": "/revoke",
            "introspection_endpoint": "/introspect",
            "registration_endpoint": "/register",
            "userinfo_endpoint": "/userinfo",
            "jwks_uri": "/.well-known/jwks.json",
        }
        assert (await http.get("/authorize", params=Flow(server).parameters())).status_code == 303
        assert (await http.post("/token")).json()["error"] == "invalid_request"
        for path in ("/revoke", "/introspect"):
            assert (await http.post(path)).json()["error"] == "invalid_request"
        assert (await http.post("/register")).json()["error"] == "invalid_client_metadata"
        assert (await http.get("/userinfo")).json()["error"] == "invalid_token"


@pytest.mark.proves("MD-08", "BR-01")
async def test_the_challenge_leads_through_discovery_to_the_token_endpoint(dsn):
    async with serving(dsn) as server, server.http() as http:
        issuer = server.services.server.issuer
        challenge = (await http.post("/mcp", json={})).headers["www-authenticate"]
        where = challenge.partition('resource_metadata="')[2].partition('"')[0]
        resource = (await http.get(where.removeprefix(issuer))).json()
        assert resource["resource"] == f"{issuer}/mcp"
        assert resource["authorization_servers"] == [issuer]
        assert (await http.get(AUTHORIZATION_SERVER[0])).json()["issuer"] == issuer


@pytest.mark.proves("MD-04", "CA-01", "CA-02", "CA-04")
async def test_every_advertised_method_of_authentication_works(dsn):
    configured = {"oauth": {"clients": {"configured": [*CLIENTS, signing_client()]}}}
    async with serving(dsn, configured) as server, server.http() as http:
        metadata = (await http.get(AUTHORIZATION_SERVER[0])).json()
        ways = {
            "none": (PUBLIC_CLIENT, {}, {"client_id": PUBLIC_CLIENT}),
            "private_key_jwt": (SIGNING_CLIENT, {}, {}),
            "client_secret_basic": (SECRET_CLIENT, basic(SECRET_CLIENT, SECRET), {}),
            "client_secret_post": (
                SECRET_CLIENT,
                {},
                {"client_id": SECRET_CLIENT, "client_secret": SECRET},
            ),
        }
        assert set(metadata["token_endpoint_auth_methods_supported"]) == set(ways)
        assert set(metadata["revocation_endpoint_auth_methods_supported"]) == set(ways)
        assert set(metadata["introspection_endpoint_auth_methods_supported"]) == set(ways) - {
            "none"
        }
        for client_id, headers, fields in ways.values():
            proof = fresh if client_id == SIGNING_CLIENT else lambda _: {}
            form = {
                **fields,
                **proof(server),
                "grant_type": "authorization_code",
                "code": await Flow(server, client_id=client_id).code(),
                "code_verifier": Flow(server).verifier,
                "redirect_uri": CALLBACK,
            }
            tokens = await http.post("/token", data=form, headers=headers)
            assert tokens.status_code == 200
            form = {**fields, **proof(server), "token": tokens.json()["refresh_token"]}
            assert (await http.post("/revoke", data=form, headers=headers)).status_code == 200
            form = {**fields, **proof(server), "token": "x"}
            asked = await http.post("/introspect", data=form, headers=headers)
            assert asked.status_code == (401 if client_id == PUBLIC_CLIENT else 200)


@pytest.mark.proves("MD-04")
@pytest.mark.parametrize("client_id", [PUBLIC_CLIENT, SECRET_CLIENT])
async def test_no_other_method_of_authentication_works(dsn, client_id):
    assertion = {
        "client_id": client_id,
        "client_assertion": "eyJhbGciOiJub25lIn0.e30.",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
    }
    async with serving(dsn) as server, server.http() as http:
        for path in ("/token", "/revoke"):
            for headers, fields in (
                ({}, assertion),
                ({}, assertion | {"client_id": ""}),
                ({"Authorization": "Bearer x"}, {"client_id": client_id}),
                ({"Authorization": 'Digest username="x"'}, {"client_id": client_id}),
                ({"X-SSL-Client-Cert": "x"}, {}),
            ):
                data = fields | {"grant_type": "refresh_token", "refresh_token": "x", "token": "x"}
                answer = await http.post(path, data=data, headers=headers)
                assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


@pytest.mark.proves("MD-04", "TK-01")
async def test_every_advertised_grant_type_is_known_and_no_other(dsn):
    async with serving(dsn) as server, server.http() as http:
        advertised = (await http.get(AUTHORIZATION_SERVER[0])).json()["grant_types_supported"]
        for grant_type in advertised:
            answer = await Flow(server).token(grant_type=grant_type)
            assert answer.json()["error"] == "invalid_request"  # known: its parameter is missing


async def test_the_token_of_openais_directory_is_plain_text_or_not_there(dsn):
    path = f"{WELL_KNOWN}/openai-apps-challenge"
    token = {"mcp": {"openai_apps_challenge": "abc-DEF_123"}}
    async with serving(dsn, token) as server, server.http() as http:
        answer = await http.get(path)
        assert (answer.status_code, answer.content) == (200, b"abc-DEF_123")
        assert answer.headers["content-type"] == "text/plain"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert (await http.head(path)).status_code == 200
        assert (await http.post(path)).status_code == 405
    async with serving(dsn, with_user=False) as server, server.http() as http:
        assert (await http.get(path)).status_code == 404
