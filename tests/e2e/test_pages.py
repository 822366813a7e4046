"""What every page has in common: headers, methods, hosts, errors, and what is never logged."""

import logging
import re

import postgres
import pytest
from psycopg2.extensions import parse_dsn
from serving import CALLBACK, PASSWORD, USER, Flow, serving

from mcpserve.log import JsonFormatter
from mcpserve.oauth import users

METHODS = {
    "/": "GET",
    "/authorize": "GET",
    "/login": "GET, POST",
    "/consent": "GET",
    "/authorize/decision": "POST",
    "/logout": "POST",
    "/connections": "GET, POST",
    "/connections/login": "GET, POST",
    "/connections/logout": "POST",
    "/setup": "GET, POST",
}
POLICY = {
    "default-src": "'none'",
    "style-src": "'self'",
    "img-src": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
}
HTML = {"Accept": "text/html"}
JSON = {"Accept": "application/json"}
FOREIGN_HOSTS = [
    "evil.example",
    "evil.example:3000",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "evil-localhost",
    "127.0.0.2",
    "[::2]:3000",
    "mcp.example.org.evil.example",
    "mcp.example.org:8443",
]


async def every_answer(server, browser):
    """Go through every kind of page and redirect; return the answers by what they are."""
    flow, http = Flow(server), browser.http
    query = flow.parameters()
    token = await users.new_setup_link(server.db)
    setup = {"setup": token, "username": USER, "password": PASSWORD, "password_again": PASSWORD}
    answers = {
        "home": await http.get("/"),
        "setup form": await http.get("/setup", params={"token": token}),
        "setup problem": await http.post("/setup", data=setup | {"password": "short"}),
        "setup done": await http.post("/setup", data=setup),
        "setup link spent": await http.get("/setup", params={"token": token}),
        "link refused": await http.get("/authorize", params=query | {"client_id": "nobody"}),
        "request refused": await http.get("/authorize", params=query | {"scope": "unknown"}),
        "request kept": await http.get("/authorize", params=query),
        "method refused": await http.post("/authorize"),
        "host refused": await http.get("/login", headers={"Host": "evil.example"}),
        "body too large": await http.post("/login", content=b"a" * 70_000),
        "body compressed": await http.post("/login", headers={"Content-Encoding": "gzip"}),
        "form of another kind": await http.post("/login", json={}),
        "request unknown": await http.get("/consent", params={"request": "unknown"}),
    }
    answers["login form"] = await browser.open("/authorize", query)
    login = browser.fields() | {"username": USER, "password": PASSWORD}
    answers["login failed"] = await http.post("/login", data=login | {"password": "wrong"})
    answers["form refused"] = await http.post("/login", data=login | {"csrf": "wrong"})
    answers["logged in"] = await http.post("/login", data=login)
    answers["consent form"] = await browser.open(answers["logged in"].headers["location"])
    form = browser.fields()
    answers["logged out"] = await http.post("/logout", data=form)
    await flow.ask(browser)
    form = browser.fields() | {"decision": "approve"}
    answers["decided"] = await http.post("/authorize/decision", data=form)
    answers["decided before"] = await http.post("/authorize/decision", data=form)
    await flow.exchange(browser.answer(answers["decided"])["code"])
    answers["connections"] = await browser.open("/connections")
    saved = browser.fields() | {"action": "save"}
    answers["connection saved"] = await http.post("/connections", data=saved)
    answers["connection form refused"] = await http.post("/connections", data=saved | {"csrf": ""})
    left = browser.fields(1)
    answers["connections left"] = await http.post("/connections/logout", data=left)
    answers["connections login form"] = await browser.open("/connections")
    return answers


@pytest.mark.proves("LG-11", "TR-11", "TR-18")
async def test_no_page_is_cached_framed_scripted_or_told_on(dsn):
    async with serving(dsn, with_user=False) as server, server.browser() as browser:
        for kind, answer in (await every_answer(server, browser)).items():
            headers = answer.headers
            rules = headers["content-security-policy"].split("; ")
            assert dict(rule.split(" ", 1) for rule in rules) == POLICY, kind
            assert headers["cache-control"] == "no-store", kind
            assert headers["x-frame-options"] == "DENY", kind
            assert headers["referrer-policy"] == "no-referrer", kind
            assert headers["cross-origin-opener-policy"] == "same-origin", kind
            assert headers["x-content-type-options"] == "nosniff", kind
            assert "server" not in headers, kind
            assert "strict-transport-security" not in headers, kind
            assert re.fullmatch("[0-9a-f]{16}", headers["x-request-id"]), kind


@pytest.mark.proves("TR-18")
async def test_a_browser_that_came_over_tls_is_told_to_come_back_so(dsn):
    settings = {"server": {"port": 3000, "public_url": "https://mcp.example.org"}}
    async with serving(dsn, settings) as server, server.http() as http:
        for path in METHODS:
            answer = await http.get(path)
            assert answer.headers["strict-transport-security"] == "max-age=31536000"


@pytest.mark.proves("AZ-03", "SE-05")
async def test_every_answer_has_its_status_and_is_a_page(dsn):
    async with serving(dsn, with_user=False) as server, server.browser() as browser:
        answers = await every_answer(server, browser)
        assert {kind: answer.status_code for kind, answer in answers.items()} == {
            "home": 200,
            "setup form": 200,
            "setup problem": 400,
            "setup done": 200,
            "setup link spent": 404,
            "link refused": 400,
            "request refused": 303,
            "request kept": 303,
            "method refused": 405,
            "host refused": 421,
            "body too large": 413,
            "body compressed": 415,
            "form of another kind": 400,
            "request unknown": 400,
            "login form": 200,
            "login failed": 401,
            "form refused": 403,
            "logged in": 303,
            "consent form": 200,
            "logged out": 303,
            "decided": 303,
            "decided before": 400,
            "connections": 200,
            "connection saved": 303,
            "connection form refused": 403,
            "connections left": 303,
            "connections login form": 200,
        }
        redirects = [answer for answer in answers.values() if answer.status_code == 303]
        assert {answer.content for answer in redirects} == {b""}
        pages = {kind: answer for kind, answer in answers.items() if answer not in redirects}
        for kind, answer in pages.items():
            assert answer.headers["content-type"] == "text/html; charset=UTF-8", kind
            assert answer.text.startswith("<!doctype html>"), kind
            assert answer.text.count("<h1>") == 1, kind
            for forbidden in ("<script", " style=", " onclick=", "javascript:", "http-equiv"):
                assert forbidden not in answer.text, kind
            assert set(re.findall(r'(?:src|href)="([^"]*)"', answer.text)) <= {
                "/static/style.css",
                "/connections",
                "data:,",
            }, kind


@pytest.mark.proves("TR-16")
async def test_no_page_is_for_the_scripts_of_another_origin(dsn):
    settings = {"cors": {"origins": ["*"]}}
    asked = {
        "Origin": "https://app.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    async with serving(dsn, settings) as server, server.http(headers=asked) as http:
        for path in METHODS:
            for method in ("GET", "POST", "OPTIONS"):
                answer = await http.request(method, path)
                assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_other_methods_are_refused_with_the_ones_there_are(dsn):
    methods = {"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "X"}
    async with serving(dsn) as server, server.http(headers=HTML) as http:
        for path, allowed in METHODS.items():
            for method in methods - set(allowed.split(", ")):
                answer = await http.request(method, path)
                assert (answer.status_code, answer.headers["allow"]) == (405, allowed)


@pytest.mark.proves("TR-17", "AZ-R0")
async def test_another_host_is_refused_and_not_repeated(dsn):
    settings = {"server": {"port": 3000, "public_url": "https://mcp.example.org"}}
    async with serving(dsn, settings) as server, server.http() as http:
        for path in METHODS:
            for host in FOREIGN_HOSTS:
                for accept in (HTML, JSON):
                    answer = await http.get(path, headers={"Host": host} | accept)
                    assert answer.status_code == 421, (path, host)
                    assert "location" not in answer.headers
                    assert host not in answer.text + str(answer.headers)


@pytest.mark.proves("TR-17")
async def test_our_own_hosts_are_served(dsn):
    settings = {
        "server": {"port": 3000, "public_url": "https://mcp.example.org"},
        "mcp": {"allowed_hosts": ["inside.example:8080"]},
    }
    hosts = ["mcp.example.org", "MCP.example.org", "inside.example:8080", "localhost", "[::1]:5"]
    async with serving(dsn, settings) as server, server.http() as http:
        for host in hosts:
            assert (await http.get("/", headers={"Host": host})).status_code == 200, host


async def test_a_program_gets_json_errors_from_pages(dsn):
    async with serving(dsn) as server, server.http(headers=JSON) as http:
        for method, path, status in (
            ("GET", "/authorize", 400),
            ("PUT", "/authorize", 405),
            ("GET", "/consent", 400),
            ("GET", "/consent?request=x", 400),
            ("POST", "/login", 400),
            ("GET", "/setup", 404),
        ):
            answer = await http.request(method, path)
            assert answer.status_code == status, path
            assert answer.headers["content-type"].startswith("application/json"), path
            assert set(answer.json()) == {"error", "error_description"}, path


async def test_whoever_takes_html_gets_a_page(dsn):
    async with serving(dsn) as server, server.http() as http:
        for accept in ("text/html,application/xhtml+xml,application/json;q=0.9", "*/*", ""):
            answer = await http.get("/authorize", headers={"Accept": accept})
            assert answer.headers["content-type"].startswith("text/html"), accept


@pytest.mark.proves("TR-13")
@pytest.mark.parametrize("accept", [HTML, JSON])
async def test_a_fault_of_ours_tells_nothing_but_its_number(dsn, accept):
    async with serving(dsn) as server, server.http(headers=accept) as http:
        await server.db.execute("ALTER TABLE oauth_clients RENAME TO gone")
        answer = await http.get("/authorize", params=Flow(server).parameters())
        assert answer.status_code == 500
        assert answer.headers["x-request-id"] in answer.text
        for word in ("oauth_clients", "Traceback", "SELECT", "psycopg", "public-client"):
            assert word not in answer.text
        assert answer.headers["cache-control"] == "no-store"


@pytest.mark.proves("TR-14", "AZ-R11")
async def test_without_the_database_a_page_asks_for_patience(cluster, dsn):
    name = parse_dsn(dsn)["dbname"]
    async with serving(dsn) as server, server.http(headers=HTML) as http:
        postgres.query(cluster, f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        postgres.query(
            cluster,
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'",
        )
        answer = await http.get("/authorize", params=Flow(server).parameters())
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert "<h1>Not available right now</h1>" in answer.text
        assert (await http.get("/")).status_code == 200


async def test_the_style_sheet_is_ours_and_may_be_cached(dsn):
    async with serving(dsn) as server, server.http() as http:
        answer = await http.get("/static/style.css")
        assert answer.headers["content-type"] == "text/css; charset=utf-8"
        assert "no-store" not in answer.headers["cache-control"]
        assert "url(" not in answer.text
        assert "@import" not in answer.text


@pytest.mark.proves("SE-01")
async def test_no_secret_is_logged(dsn, caplog):
    caplog.set_level(logging.DEBUG)
    caplog.clear()
    async with serving(dsn, with_user=False) as server, server.browser() as browser:
        answers = await every_answer(server, browser)
        flow = Flow(server)
        await flow.ask(browser, state="state-that-is-a-secret")
        code = (await browser.approve())["code"]
        await browser.http.get("/authorize", params={"code": code, "state": "another-secret-state"})
        tokens = (await flow.exchange(code)).json()
        await flow.exchange(code)
    texts = " ".join(answer.text for answer in answers.values())
    hidden = re.findall(r'type="hidden" name="(?!grant)\w+" value="([^"]+)"', texts)
    cookies = [
        value
        for answer in answers.values()
        for header in answer.headers.get_list("set-cookie")
        for value in re.findall("mcpserve=([^;]+)", header)
    ]
    assert (len(set(hidden)), len(set(cookies))) == (9, 4)
    secrets = {
        *hidden,
        *cookies,
        PASSWORD,
        code,
        flow.verifier,
        tokens["access_token"],
        tokens["refresh_token"],
        "state-that-is-a-secret",
        "another-secret-state",
        CALLBACK + "?",
    }
    ours = [record for record in caplog.records if not record.name.startswith(("http", "asyncio"))]
    lines = "\n".join(JsonFormatter().format(record) for record in ours)
    assert "POST /authorize/decision 303" in lines
    assert not [secret for secret in secrets if secret in lines]
