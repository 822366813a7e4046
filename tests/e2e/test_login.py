"""``/login`` and ``/logout``: the browser's session, wrong passwords, forms from elsewhere."""

from http.cookies import SimpleCookie

import bcrypt
import pytest
from browser import Forms
from serving import PASSWORD, USER, Flow, add_user, serving

from mcpserve import crypto
from mcpserve.oauth import users

WRONG = "wrong battery staple"
LONG = "\U0001f511" * 18  # 72 bytes


def issued(response):
    """Return the one cookie that a response sets: name, value, and its attributes."""
    [header] = response.headers.get_list("set-cookie")
    [(name, morsel)] = SimpleCookie(header).items()
    attributes = {part.strip() for part in header.split(";")[1:]}
    return name, morsel.value, attributes


async def at_login(server, browser, **changes):
    """Bring a browser to the login page."""
    page = await browser.open("/authorize", Flow(server).parameters(**changes))
    assert page.url.path == "/login"
    return page


@pytest.mark.proves("LG-01")
@pytest.mark.parametrize(
    ("public_url", "name", "attributes"),
    [
        ("https://mcp.example.org", "__Host-mcpserve", {"HttpOnly", "Secure"}),
        ("", "mcpserve", {"HttpOnly"}),
    ],
)
async def test_the_session_cookie_is_for_this_host_only(dsn, public_url, name, attributes):
    settings = {"server": {"port": 3000, "public_url": public_url}}
    async with serving(dsn, settings) as server, server.http() as http:
        answer = await http.get("/authorize", params=Flow(server).parameters())
        login_page = answer.headers["location"].replace("/consent", "/login")
        first = issued(answer)
        http.headers["Cookie"] = f"{first[0]}={first[1]}"
        form = Forms((await http.get(login_page)).text).forms[0]["fields"]
        second = issued(
            await http.post("/login", data=form | {"username": USER, "password": PASSWORD})
        )
        for cookie in (first, second):
            assert cookie[0] == name
            assert len(cookie[1]) == 43  # 256 bits
            assert cookie[2] == attributes | {"Path=/", "SameSite=Lax"}
        assert first[1] != second[1]
        row = await server.db.one("SELECT digest, b::text AS everything FROM browser_sessions b")
        assert row.digest == crypto.digest(second[1])
        assert second[1] not in row.everything


@pytest.mark.proves("LG-02", "LG-09")
@pytest.mark.parametrize("step", ["login", "logout"])
async def test_the_session_gets_a_new_id_and_the_old_one_is_dead(dsn, step):
    async with serving(dsn) as server, server.browser() as browser, server.browser() as thief:
        page = await at_login(server, browser)
        if step == "logout":
            page = await browser.log_in(USER, PASSWORD)
        stolen = browser.http.cookies["mcpserve"]
        assert (await browser.http.get(page.url)).status_code == 200
        if step == "login":
            await browser.log_in(USER, PASSWORD)
        else:
            await browser.submit(1)
        thief.http.cookies["mcpserve"] = stolen
        assert browser.http.cookies["mcpserve"] != stolen
        assert (await browser.http.get(browser.shown.url)).status_code == 200
        assert (await thief.http.get(browser.shown.url)).status_code == 400


@pytest.mark.proves("LG-02")
async def test_a_cookie_that_is_not_ours_is_not_adopted(dsn):
    async with serving(dsn) as server, server.http(cookies={"mcpserve": "planted"}) as http:
        response = await http.get("/authorize", params=Flow(server).parameters())
        assert issued(response)[1] != "planted"


@pytest.mark.proves("LG-02")
async def test_a_new_password_ends_every_browser_session_of_that_user(dsn):
    async with serving(dsn) as server, server.browser() as hers, server.browser() as his:
        services = server.services
        await add_user(services, "bob", PASSWORD)
        await Flow(server).ask(hers)
        await at_login(server, his)
        await his.log_in("bob", PASSWORD)
        await users.change_password(
            server.db, services.hasher, services.settings.login, name=USER, password=WRONG
        )
        assert (await hers.submit(button="approve")).status_code == 400
        assert "code" in await his.approve()
        assert (await at_login(server, hers)).status_code == 200


async def test_a_session_ends_by_itself(dsn):
    async with serving(dsn) as server, server.browser() as browser:
        await Flow(server).ask(browser)
        lifetime = await server.db.one("SELECT expires_at - auth_time AS l FROM browser_sessions")
        assert abs(lifetime.l.total_seconds() - 12 * 3600) < 1
        await server.db.execute("UPDATE browser_sessions SET expires_at = clock_timestamp()")
        assert (await browser.submit(button="approve")).status_code == 400
        await at_login(server, browser)


FOREIGN = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Origin": "https://evil.example"},
    {"Origin": "http://127.0.0.1:1"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "null"},
]


@pytest.mark.proves("LG-03")
async def test_a_login_form_from_elsewhere_is_refused(dsn):
    async with serving(dsn) as server, server.browser() as mine, server.browser() as other:
        await at_login(server, mine)
        await at_login(server, other)
        good = mine.fields() | {"username": USER, "password": PASSWORD}
        for headers in FOREIGN:
            response = await mine.http.post("/login", data=good, headers=headers)
            assert (response.status_code, "set-cookie" in response.headers) == (403, False)
        for csrf in (None, "", "0" * 64, other.fields()["csrf"]):
            form = {name: value for name, value in (good | {"csrf": csrf}).items() if value}
            response = await mine.http.post("/login", data=form)
            assert (response.status_code, "set-cookie" in response.headers) == (403, False)
        assert await server.db.rows("SELECT FROM browser_sessions WHERE user_id IS NOT NULL") == []


@pytest.mark.proves("LG-03")
@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "same-origin", "Origin": "null"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "null"},
        {"Origin": "{own}"},
    ],
)
async def test_a_form_of_our_own_page_is_accepted(dsn, headers):
    async with serving(dsn) as server, server.browser() as browser:
        await at_login(server, browser)
        form = browser.fields() | {"username": USER, "password": PASSWORD}
        sent = {name: value.format(own=server.url) for name, value in headers.items()}
        assert (await browser.http.post("/login", data=form, headers=sent)).status_code == 303


@pytest.fixture
def hashes(monkeypatch):
    """The hashes that bcrypt was asked about, without their salts."""
    seen = []
    check = bcrypt.checkpw

    def recorded(password, stored):
        seen.append(stored[:7])
        return check(password, stored)

    monkeypatch.setattr(bcrypt, "checkpw", recorded)
    return seen


@pytest.mark.proves("LG-04", "LG-05")
async def test_every_failed_login_looks_and_costs_the_same(dsn, hashes):
    async with serving(dsn) as server, server.browser() as browser:
        services = server.services
        for name in ("carol", "long5"):
            await add_user(services, name, LONG)
        await users.set_disabled(server.db, "carol", disabled=True)
        await at_login(server, browser)
        answers = set()
        attempts = [
            (USER, WRONG),
            (USER, PASSWORD + "x"),
            (USER, ""),
            (USER, LONG + "x"),
            ("nobod", PASSWORD),
            ("nobod", LONG + "x"),
            ("carol", LONG),
            ("long5", LONG[:-1]),
            ("long5", LONG + "x"),
            ("a b c", PASSWORD),
        ]
        for name, password in attempts:
            del hashes[:]
            form = browser.fields() | {"username": name, "password": password}
            response = await browser.http.post("/login", data=form)
            headers = tuple(
                item for item in response.headers.items() if item[0] not in ("date", "x-request-id")
            )
            text = response.text.replace(f'value="{name}"', "")
            answers.add((response.status_code, headers, text, tuple(hashes)))
        [(status, headers, text, work)] = answers
        assert (status, work) == (401, (b"$2b$04$",))
        assert "Wrong name or password." in text
        assert "set-cookie" not in dict(headers)


@pytest.mark.proves("LG-05")
async def test_a_password_of_72_bytes_works(dsn):
    async with serving(dsn) as server, server.browser() as browser:
        await add_user(server.services, "dora", LONG)
        await at_login(server, browser)
        assert (await browser.log_in("dora", LONG)).url.path == "/consent"


async def test_a_name_is_known_in_any_case_and_shown_as_it_is_written(dsn):
    async with serving(dsn) as server, server.browser() as browser:
        await at_login(server, browser)
        page = await browser.log_in(USER.upper(), PASSWORD)
        assert (page.url.path, f"<dd>{USER}</dd>" in page.text) == ("/consent", True)


@pytest.mark.proves("SE-05")
async def test_what_was_typed_is_shown_again_but_not_the_password(dsn):
    async with serving(dsn) as server, server.browser() as browser:
        await at_login(server, browser)
        page = await browser.log_in('"><script>', WRONG)
        assert 'value="&quot;&gt;&lt;script&gt;"' in page.text
        assert WRONG not in page.text
        assert (await browser.log_in(USER, PASSWORD)).url.path == "/consent"


@pytest.mark.proves("LG-08")
async def test_no_parameter_says_where_to_go_after_the_login(dsn):
    async with serving(dsn) as server, server.browser() as browser:
        for target in (
            "//evil.example",
            "/\\evil.example",
            "https:evil.example",
            "%2f%2fevil.example",
        ):
            await at_login(server, browser, prompt="login")
            elsewhere = dict.fromkeys(("next", "return_to", "redirect_uri", "url"), target)
            form = browser.fields() | {"username": USER, "password": PASSWORD}
            response = await browser.http.post("/login", data=form | elsewhere, params=elsewhere)
            assert response.headers["location"] == f"/consent?request={form['request']}"
            unknown = await browser.http.get("/login", params={"request": target})
            assert (unknown.status_code, "location" in unknown.headers) == (400, False)


@pytest.mark.proves("LG-09")
async def test_a_logout_needs_our_form(dsn):
    async with serving(dsn) as server, server.browser() as browser:
        await Flow(server).ask(browser)
        form = browser.fields(1)
        assert (await browser.http.get("/logout", params=form)).status_code == 405
        refused = [
            await browser.http.post("/logout", data=form | {"csrf": "0" * 64}),
            await browser.http.post("/logout", data={"request": form["request"]}),
            *[
                await browser.http.post("/logout", data=form, headers=foreign)
                for foreign in FOREIGN
            ],
        ]
        assert {response.status_code for response in refused} == {403}
        assert "code" in await browser.approve()


@pytest.mark.proves("LG-03")
async def test_a_login_form_from_before_the_last_login_is_refused(dsn):
    async with serving(dsn) as server, server.browser() as browser:
        await at_login(server, browser)
        old = browser.fields() | {"username": USER, "password": PASSWORD}
        await browser.log_in(USER, PASSWORD)
        await browser.submit(1)
        assert browser.fields()["request"] == old["request"]
        assert (await browser.http.post("/login", data=old)).status_code == 403
        assert (await browser.log_in(USER, PASSWORD)).url.path == "/consent"


@pytest.mark.proves("LG-09")
async def test_a_logout_lets_another_person_decide_and_ends_no_grant(dsn):
    async with serving(dsn) as server, server.browser() as browser:
        await add_user(server.services, "bob", PASSWORD)
        flow = Flow(server)
        tokens = await flow.tokens()
        await flow.ask(browser)
        assert (await browser.submit(1)).url.path == "/login"
        assert (await flow.call_mcp(tokens["access_token"])).status_code == 200
        await browser.log_in("bob", PASSWORD)
        await flow.exchange((await browser.approve())["code"])
        names = await server.db.rows(
            """SELECT u.name FROM mcp_sessions g JOIN users u ON u.id = g.user_id
               WHERE g.state = 'active' ORDER BY 1"""
        )
        assert [row.name for row in names] == [USER, "bob"]
