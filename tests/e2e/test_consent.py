"""``/consent`` and ``/authorize/decision``: one person, one browser, one answer."""

import asyncio

import pytest
from e2e.registering import CHATGPT, register
from serving import CALLBACK, PASSWORD, PUBLIC_CLIENT, USER, Flow, add_user, serving

from mcpserve.text import clean

FOREIGN = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Origin": "https://evil.example"},
]


async def codes(server):
    """Return how many codes there are."""
    return (await server.db.one("SELECT count(*) AS n FROM oauth_authorization_codes")).n


def one_client(**values):
    """Settings with one client."""
    client = {"id": PUBLIC_CLIENT, "redirect_uris": [CALLBACK]} | values
    return {"oauth": {"clients": {"configured": [client]}}}


def decision(browser, value="approve"):
    """Return the form of the consent page with this decision."""
    return browser.fields() | {"decision": value}


async def post(browser, form, **options):
    return await browser.http.post("/authorize/decision", data=form, **options)


@pytest.mark.proves("CO-01", "SE-05")
async def test_the_page_says_who_asks_for_what_and_where_the_answer_goes(dsn):
    settings = one_client(name='<b>Client</b> "&')
    async with serving(dsn, settings) as server, server.browser() as browser:
        page = await Flow(server).ask(browser, scope="mcp.tools.call offline_access")
        for text in (
            "<h1>Allow &lt;b&gt;Client&lt;/b&gt; &quot;&amp; to use mcpserve?</h1>",
            "Use the tools and data of this server on your behalf",
            "Stay connected while you are away",
            f"<dd>{USER}</dd>",
            f"<code>{PUBLIC_CLIENT}</code>",
            "<strong>client.example</strong>",
            server.services.server.resource,
        ):
            assert text in page.text
        assert 'class="warning"' not in page.text


@pytest.mark.proves("CO-01")
async def test_the_page_warns_of_an_answer_to_this_computer(dsn):
    uris = ["http://127.0.0.1:5/cb", "http://[::1]:5/cb", "http://localhost:5/cb"]
    async with serving(dsn, one_client(redirect_uris=uris)) as server, server.browser() as browser:
        for uri in uris:
            page = await Flow(server).ask(browser, redirect_uri=uri)
            assert 'class="warning"' in page.text, uri


@pytest.mark.proves("CO-01")
async def test_the_page_warns_of_an_answer_to_a_scheme_that_any_program_can_take(dsn):
    uri = "cursor://anysphere.cursor-mcp/oauth/callback"
    async with serving(dsn, one_client(redirect_uris=[uri])) as server, server.browser() as browser:
        page = await Flow(server).ask(browser, redirect_uri=uri)
    assert "the application cursor on this computer, and any program can take" in page.text


@pytest.mark.proves("CO-01")
@pytest.mark.parametrize(("presets", "verified"), [(["chatgpt"], True), ([], False)])
async def test_a_preset_that_is_switched_off_verifies_nobody_any_more(dsn, presets, verified):
    async with serving(dsn) as server:
        client_id = await register(server, CHATGPT)
    only = {"oauth": {"clients": {"presets": presets}}}
    async with (
        serving(dsn, only, with_user=False) as server,
        server.browser() as browser,
        server.http() as http,
    ):
        flow = Flow(server, client_id, redirect_uri=CHATGPT)
        page = await flow.ask(browser)
        assert ("is not verified" not in page.text) is verified
        refused = await http.get("/authorize", params=flow.parameters(scope="unknown"))
        assert refused.is_redirect is verified


@pytest.mark.proves("CO-01", "SE-05")
@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Claude", "Claude"),
        ("Cla\u200bude\u202eedualC", "ClaudeedualC"),
        ("\ufeff\u2066\u00ad\u200d", "unnamed"),
        ("a\nb\tc\x1b[1m", "abc[1m"),
        ("x" * 500, "x" * 100),
    ],
)
def test_a_name_cannot_pretend(name, shown):
    assert clean(name) == shown


@pytest.mark.proves("CO-05", "AZ-R11")
async def test_only_the_exact_word_approves(dsn):
    async with serving(dsn) as server, server.browser() as browser:
        for value in (None, "", "Approve", "APPROVE", "yes", "true", "1", "approve "):
            await Flow(server).ask(browser)
            form = browser.fields() | ({} if value is None else {"decision": value})
            answer = browser.answer(await post(browser, form))
            assert (answer["error"], answer["state"]) == ("access_denied", "the state"), value
        assert await codes(server) == 0


@pytest.mark.proves("CO-05")
async def test_two_decisions_in_one_form_are_none(dsn):
    async with serving(dsn) as server, server.browser() as browser:
        await Flow(server).ask(browser)
        for values in (["approve", "approve"], ["deny", "approve"]):
            response = await post(browser, decision(browser, values))
            assert (response.status_code, await codes(server)) == (400, 0)
        assert "code" in await browser.approve()


@pytest.mark.proves("CO-02")
async def test_a_decision_needs_the_token_of_this_person_browser_and_request(dsn):
    async with serving(dsn) as server, server.browser() as mine, server.browser() as other:
        await add_user(server.services, "bob", PASSWORD)
        flow = Flow(server)
        login = (await mine.open("/authorize", flow.parameters())) and mine.fields()["csrf"]
        await flow.ask(mine, state="another request")
        another_request = mine.fields()["csrf"]
        await other.open("/authorize", flow.parameters())
        await other.log_in("bob", PASSWORD)
        another_browser = other.fields()["csrf"]
        await flow.ask(mine)
        good = decision(mine)
        for csrf in (None, "", "0" * 64, login, another_request, another_browser):
            form = {name: value for name, value in (good | {"csrf": csrf}).items() if value}
            response = await post(mine, form)
            assert (response.status_code, "location" in response.headers) == (403, False)
        for headers in FOREIGN:
            assert (await post(mine, good, headers=headers)).status_code == 403
        assert await codes(server) == 0
        assert (await post(mine, good)).status_code == 303


@pytest.mark.proves("CO-02")
async def test_the_token_of_one_person_is_worth_nothing_to_the_next(dsn):
    async with serving(dsn) as server, server.browser() as browser:
        await add_user(server.services, "bob", PASSWORD)
        await Flow(server).ask(browser)
        of_alice = decision(browser)
        await browser.submit(1)
        assert (await post(browser, of_alice)).status_code == 403
        await browser.log_in("bob", PASSWORD)
        assert (await post(browser, of_alice)).status_code == 403
        assert await codes(server) == 0
        assert "code" in await browser.approve()


@pytest.mark.proves("CO-03")
async def test_an_attackers_own_form_does_nothing_in_the_victims_browser(dsn):
    async with serving(dsn) as server, server.browser() as attacker, server.browser() as victim:
        await add_user(server.services, "mallory", PASSWORD)
        flow = Flow(server)
        await attacker.open("/authorize", flow.parameters())
        await attacker.log_in("mallory", PASSWORD)
        await flow.ask(victim)
        mixed = decision(victim) | {"request": attacker.fields()["request"]}
        for form in (decision(attacker), mixed):
            response = await post(victim, form)
            assert (response.status_code, "location" in response.headers) == (403, False)
        assert await codes(server) == 0


@pytest.mark.proves("CO-02")
async def test_a_decision_before_the_login_is_refused(dsn):
    async with serving(dsn) as server, server.browser() as browser:
        await browser.open("/authorize", Flow(server).parameters())
        assert (await post(browser, decision(browser))).status_code == 403
        assert await codes(server) == 0


@pytest.mark.proves("CO-04", "CO-12")
@pytest.mark.parametrize("first", ["approve", "deny"])
@pytest.mark.parametrize("second", ["approve", "deny"])
async def test_a_second_answer_gets_a_calm_page(dsn, first, second):
    async with serving(dsn) as server, server.browser() as browser:
        await Flow(server).ask(browser)
        assert (await post(browser, decision(browser, first))).status_code == 303
        again = await post(browser, decision(browser, second))
        assert (again.status_code, "location" in again.headers) == (400, False)
        assert "<h1>This request has been answered already</h1>" in again.text
        assert (await browser.http.get(browser.shown.url)).status_code == 400
        assert await codes(server) == (first == "approve")


@pytest.mark.proves("CO-04")
async def test_of_many_answers_at_once_one_counts(dsn):
    async with serving(dsn) as server, server.browser() as browser:
        for round_number in range(1, 6):
            await Flow(server).ask(browser)
            form = decision(browser)
            answers = await asyncio.gather(*(post(browser, form) for _ in range(8)))
            assert sorted(answer.status_code for answer in answers) == [303, *[400] * 7]
            assert await codes(server) == round_number


@pytest.mark.proves("CO-04")
async def test_of_yes_and_no_at_once_one_counts(dsn):
    async with serving(dsn) as server, server.browser() as browser:
        minted = 0
        for _ in range(5):
            await Flow(server).ask(browser)
            forms = [decision(browser, value) for value in ("approve", "deny")]
            answers = await asyncio.gather(*(post(browser, form) for form in forms))
            [told] = [browser.answer(answer) for answer in answers if answer.is_redirect]
            minted += "code" in told
            assert await codes(server) == minted


@pytest.mark.proves("AZ-11")
async def test_a_page_that_was_loaded_twice_still_works(dsn):
    async with serving(dsn) as server, server.browser() as browser:
        page = await browser.open("/authorize", Flow(server).parameters())
        await browser.open(str(page.url))
        browser.page = page
        page = await browser.log_in(USER, PASSWORD)
        again = await browser.open(str(page.url))
        assert again.text == page.text
        browser.page = page
        assert "code" in await browser.approve()


@pytest.mark.proves("CO-06")
async def test_no_form_field_widens_what_was_asked_for(dsn):
    async with serving(dsn) as server, server.browser() as browser:
        await Flow(server).ask(browser)
        more = {
            "scope": "mcp.tools.call offline_access",
            "redirect_uri": "https://evil.example/",
            "client_id": "secret-client",
            "state": "another",
        }
        answer = await post(browser, decision(browser) | more, params=more)
        assert answer.headers["location"].startswith(f"{CALLBACK}?code=")
        assert browser.answer(answer)["state"] == "the state"
        row = await server.db.one("SELECT scopes, client_id FROM oauth_authorization_codes")
        assert row == (["mcp.tools.call"], PUBLIC_CLIENT)
