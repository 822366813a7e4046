"""``GET /authorize``: what is refused, in which order, and who is told."""

from itertools import combinations, product
from urllib.parse import parse_qsl, urlencode

import pytest
from serving import CALLBACK, PASSWORD, PUBLIC_CLIENT, USER, Flow, serving

from mcpserve.oauth import clients

MANY = {"limits": {"authorize": {"failures": 10_000}}}
TITLES = {
    "This link is broken": "broken link",
    "This link is incomplete": "incomplete link",
    "This application is not known here": "unknown application",
    "The application asks for an answer at the wrong place": "wrong redirect URI",
}

# The ladder of the checks, from the first: (changes to a good request, answer).
RUNGS = [
    ({"nonsense": "%zz"}, "broken link"),
    ({"client_id": "nobody"}, "unknown application"),
    ({"redirect_uri": "https://evil.example/"}, "wrong redirect URI"),
    ({"response_mode": "fragment"}, "only response_mode=query is supported"),
    ({"nonce": ["1", "1"]}, "nonce is there more than once"),
    ({"request": "e30."}, "request is not supported"),
    ({"response_type": "token"}, "only response_type=code is supported"),
    ({"code_challenge_method": "plain"}, "code_challenge_method must be S256"),
    ({"scope": "unknown"}, "a requested scope is not known here"),
    ({"resource": "https://other.example/mcp"}, "the resource is not served here"),
    ({"prompt": "none login"}, "prompt=none cannot be combined"),
]

# (changes, error told to the client)
FAULTS = [
    *(({"response_mode": mode}, "invalid_request") for mode in ("fragment", "form_post", "x")),
    ({"response_mode": ["query", "query"]}, "invalid_request"),
    *(
        ({name: ["a", "a"]}, "invalid_request")
        for name in (
            "response_type",
            "code_challenge",
            "code_challenge_method",
            "scope",
            "prompt",
            "nonce",
            "request",
            "request_uri",
            "registration",
        )
    ),
    ({"request": "e30."}, "request_not_supported"),
    ({"request_uri": "https://client.example/r"}, "request_uri_not_supported"),
    ({"registration": "{}"}, "registration_not_supported"),
    ({"response_type": None}, "invalid_request"),
    ({"response_type": ""}, "invalid_request"),
    *(
        ({"response_type": response_type}, "unsupported_response_type")
        for response_type in ("token", "id_token", "code token", "code id_token", "none", "CODE")
    ),
    ({"code_challenge": None}, "invalid_request"),
    ({"code_challenge": ""}, "invalid_request"),
    ({"code_challenge_method": None}, "invalid_request"),
    ({"code_challenge_method": ""}, "invalid_request"),
    *(
        ({"code_challenge_method": m}, "invalid_request")
        for m in ("plain", "s256", "S512", "S256 ")
    ),
    *(
        ({"code_challenge": challenge}, "invalid_request")
        for challenge in ("a" * 42, "a" * 44, "a" * 42 + "=", "a" * 42 + "+", "a" * 42 + "é")
    ),
    *(
        ({"scope": scope}, "invalid_scope")
        for scope in (
            "unknown",
            "mcp.tools.call unknown",
            "MCP.TOOLS.CALL",
            'mcp.tools.call"',
            "mcp.tools.call\\",
            "mcp.tools.cäll",
            "mcp.tools.call  offline_access",
            " mcp.tools.call",
        )
    ),
    *(
        ({"resource": resource}, "invalid_target")
        for resource in ("https://other.example/mcp", "/mcp", "mcp", "https:", "http://[::1/mcp")
    ),
    ({"prompt": "none login"}, "invalid_request"),
    ({"prompt": "none consent"}, "invalid_request"),
    ({"prompt": "none"}, "login_required"),
]


async def ask(http, flow, changes):
    """Send a request, good but for the changes; a list repeats a parameter."""
    query = urlencode(flow.parameters() | changes, doseq=True).replace("%25zz", "%zz")
    names = {name for name, value in changes.items() if value is None}
    kept = "&".join(part for part in query.split("&") if part.split("=")[0] not in names)
    return await http.get(f"/authorize?{kept}")


def told(response, redirect_uri=CALLBACK):
    """Return the answer that a redirect carries, after checking where it goes."""
    assert response.status_code == 303
    location = response.headers["location"]
    assert location.isascii()
    assert location.startswith(f"{redirect_uri}?")
    pairs = parse_qsl(location.removeprefix(f"{redirect_uri}?"), keep_blank_values=True)
    assert len(pairs) == len(dict(pairs))
    return dict(pairs)


def refusal(response):
    """Return what is wrong: a page's name, or what the client is told."""
    if response.status_code == 303:
        return told(response)["error_description"]
    assert response.status_code == 400
    assert "location" not in response.headers
    title = response.text.partition("<h1>")[2].partition("</h1>")[0]
    return TITLES[title]


async def test_a_wrong_redirect_uri_is_a_page_that_says_what_to_do(dsn):
    async with serving(dsn) as server, server.http() as http:
        wrong = Flow(server).parameters(redirect_uri="https://client.example/other")
        page = await http.get("/authorize", params=wrong)
    assert "Remove the connection in the application and add it again" in page.text
    assert "https://client.example/other" in page.text


@pytest.mark.proves("AZ-01")
async def test_each_check_refuses_alone_and_the_earlier_of_two_wins(dsn):
    async with serving(dsn, MANY) as server, server.http() as http:
        flow = Flow(server)
        expected, seen = {}, {}
        for changes, answer in RUNGS:
            expected[answer] = answer
            seen[answer] = refusal(await ask(http, flow, changes))
        for (first, answer), (second, later) in combinations(RUNGS, 2):
            expected[answer, later] = answer
            seen[answer, later] = refusal(await ask(http, flow, first | second))
        assert seen == expected


@pytest.mark.proves("AZ-R3", "AZ-R4", "AZ-R5", "AZ-R6", "AZ-R7", "AZ-R8", "AZ-R9", "AZ-R10")
@pytest.mark.proves("AZ-01", "AZ-02", "AZ-03", "RI-01")
async def test_every_fault_of_a_known_client_is_told_to_the_client(dsn):
    async with serving(dsn) as server, server.http() as http:
        issuer = server.services.server.issuer
        for changes, error in FAULTS:
            answer = told(await ask(http, Flow(server), changes))
            description = answer.pop("error_description")
            assert description.isascii(), changes
            assert answer == {"error": error, "iss": issuer, "state": "the state"}, changes
            assert not http.cookies, changes
        pending = await server.db.one("SELECT count(*) AS n FROM authorization_requests")
        assert pending.n == 0


@pytest.mark.proves("AZ-R4", "AZ-02")
async def test_a_state_that_is_there_twice_is_not_told(dsn):
    async with serving(dsn) as server, server.http() as http:
        for states in (["a", "b"], ["a", "a"], ["", "a"]):
            answer = told(await ask(http, Flow(server), {"state": states}))
            assert answer["error"] == "invalid_request"
            assert "state" not in answer
            assert answer["iss"] == server.services.server.issuer


@pytest.mark.proves("AZ-R1")
async def test_an_unknown_client_gets_a_page_and_no_cookie(dsn):
    pages = [
        (None, "incomplete link"),
        ("", "incomplete link"),
        ([PUBLIC_CLIENT, PUBLIC_CLIENT], "incomplete link"),
        ("nobody", "unknown application"),
        (PUBLIC_CLIENT.upper(), "unknown application"),
        ("a\0b", "broken link"),
    ]
    async with serving(dsn) as server, server.http() as http:
        for (client_id, page), redirect_uri in product(pages, (CALLBACK, None)):
            changes = {"client_id": client_id, "redirect_uri": redirect_uri}
            response = await ask(http, Flow(server), changes)
            assert refusal(response) == page, changes
            assert "set-cookie" not in response.headers, changes


@pytest.mark.proves("AZ-R1")
async def test_a_disabled_client_is_unknown(dsn):
    async with serving(dsn) as server, server.http() as http:
        await clients.set_disabled(server.db, PUBLIC_CLIENT, disabled=True)
        assert refusal(await ask(http, Flow(server), {})) == "unknown application"


@pytest.mark.proves("AZ-R1", "AZ-R2", "TR-15")
async def test_a_program_gets_the_error_as_json(dsn):
    faults = [
        ({"client_id": "nobody"}, "invalid_client"),
        ({"client_id": None}, "invalid_request"),
        ({"redirect_uri": None}, "invalid_request"),
        ({"redirect_uri": 'https://evil.example/"\\é'}, "invalid_request"),
        ({"nonsense": "%zz"}, "invalid_request"),
    ]
    async with serving(dsn) as server, server.http(headers={"Accept": "application/json"}) as http:
        for changes, error in faults:
            response = await ask(http, Flow(server), changes)
            assert response.status_code == 400, changes
            assert response.headers["content-type"].startswith("application/json"), changes
            body = response.json()
            assert set(body) == {"error", "error_description"}, changes
            assert body["error"] == error, changes
            assert all(" " <= c <= "~" and c not in '"\\' for c in body["error_description"])
            assert "evil.example" not in response.text, changes


@pytest.mark.proves("AZ-R0")
async def test_an_address_that_is_too_long_is_refused(dsn):
    async with serving(dsn) as server, server.http() as http:
        response = await ask(http, Flow(server), {"state": "s" * 17_000})
        assert response.status_code == 414
        assert "location" not in response.headers


@pytest.mark.proves("AZ-R0", "TR-08", "TR-09", "AZ-05")
async def test_bytes_that_are_no_text_are_refused(dsn):
    async with serving(dsn) as server, server.http() as http:
        query = urlencode(Flow(server).parameters(state=None))
        for state in ("%ff", "%c3%28", "%", "%2", "%00", "%0a", "%0d%0aSet-Cookie:%20a=b", "%09"):
            response = await http.get(f"/authorize?{query}&state={state}")
            assert refusal(response) == "broken link", state
            assert "set-cookie" not in response.headers, state


@pytest.mark.proves("TR-06", "AZ-07")
async def test_unknown_and_unsupported_parameters_are_ignored(dsn):
    ignored = {
        "nonce": "n",
        "max_age": "0",
        "ui_locales": "de",
        "login_hint": "bob",
        "display": "popup",
        "claims": "{}",
        "foo": ["1", "2"],
        "code": "a",
        "prompt": "select_account",
        "response_mode": "query",
    }
    async with serving(dsn) as server, server.http() as http:
        response = await ask(http, Flow(server), ignored)
        assert response.headers["location"].startswith("/consent?request=")


@pytest.mark.proves("TR-05")
async def test_empty_parameters_are_absent(dsn):
    empty = dict.fromkeys(("scope", "resource", "prompt", "response_mode", "request", "state"), "")
    async with serving(dsn) as server, server.http() as http:
        assert (await ask(http, Flow(server), empty)).headers["location"].startswith("/consent?")
        row = await server.db.one("SELECT state, scopes FROM authorization_requests")
        assert row == (None, ["mcp.tools.call"])


@pytest.mark.proves("AZ-06")
async def test_nothing_happens_before_a_person_decides(dsn):
    counts = """SELECT (SELECT count(*) FROM oauth_authorization_codes) AS codes,
                       (SELECT count(*) FROM mcp_sessions) AS grants,
                       (SELECT count(*) FROM authorization_requests) AS pending"""
    async with serving(dsn) as server, server.browser() as browser:
        await browser.open("/authorize", Flow(server).parameters())
        assert await server.db.one(counts) == (0, 0, 1)
        await browser.log_in(USER, PASSWORD)
        assert await server.db.one(counts) == (0, 0, 1)
        await browser.approve()
        assert await server.db.one(counts) == (1, 0, 1)


@pytest.mark.proves("AZ-R0", "AZ-12")
async def test_other_methods_leave_no_trace(dsn):
    async with serving(dsn) as server, server.http() as http:
        for method in ("HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            response = await http.request(method, "/authorize", params=Flow(server).parameters())
            assert (response.status_code, response.headers["allow"]) == (405, "GET")
            assert "set-cookie" not in response.headers
        rows = await server.db.rows("SELECT FROM browser_sessions, authorization_requests")
        assert rows == []


@pytest.mark.proves("RL-03")
async def test_only_refused_requests_count_toward_the_limit(dsn):
    few = {"limits": {"authorize": {"failures": 2}}}
    async with serving(dsn, few) as server, server.http() as http:
        bad = [await ask(http, Flow(server), {"client_id": "nobody"}) for _ in range(3)]
        assert [response.status_code for response in bad] == [400, 400, 429]
        assert int(bad[2].headers["retry-after"]) > 0
        assert (await ask(http, Flow(server), {})).status_code == 303
