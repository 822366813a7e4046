"""Guessing passwords: it is stopped, and it stops nobody else."""

import asyncio
import threading

import bcrypt
import pytest
from browser import Browser
from serving import PASSWORD, USER, Flow, add_user, serving

WRONG = "wrong battery staple"
FEW = {
    "limits": {"login": {"failures": 2}},
    "server": {"port": 3000, "trusted_proxies": ["127.0.0.0/8"]},
}


async def attempt(browser: Browser, password, *, name=USER, network="192.0.2.1"):
    """Send the login form of the page that the browser is at."""
    form = browser.fields() | {"username": name, "password": password}
    headers = {"X-Forwarded-For": network}
    return await browser.http.post("/login", data=form, headers=headers)


async def statuses(browser, *passwords, **who):
    return [(await attempt(browser, password, **who)).status_code for password in passwords]


@pytest.mark.proves("LG-07", "RL-03")
async def test_the_right_password_is_refused_while_the_lock_lasts(dsn):
    async with serving(dsn, FEW) as server, server.browser() as browser:
        await browser.open("/authorize", Flow(server).parameters())
        assert await statuses(browser, WRONG, WRONG) == [401, 401]
        locked = [await attempt(browser, password) for password in (WRONG, PASSWORD)]
        for response in locked:
            assert response.status_code == 429
            assert 0 < int(response.headers["retry-after"]) <= 15 * 60
            assert "set-cookie" not in response.headers
        assert locked[0].text == locked[1].text
        assert await statuses(browser, PASSWORD, name=USER.upper()) == [429]
        await server.db.execute("UPDATE rate_limits SET expires_at = clock_timestamp()")
        assert await statuses(browser, PASSWORD) == [303]


@pytest.mark.proves("LG-07")
async def test_of_many_guesses_at_once_only_the_allowed_ones_are_checked(dsn, monkeypatch):
    # Red when the failure is counted after the check, which all of them then pass.
    checked = []
    real = bcrypt.checkpw
    monkeypatch.setattr(bcrypt, "checkpw", lambda *given: checked.append(given) or real(*given))
    async with serving(dsn, FEW) as server, server.browser() as browser:
        await browser.open("/authorize", Flow(server).parameters())
        await asyncio.gather(*(attempt(browser, WRONG) for _ in range(12)))
    assert len(checked) == 2


@pytest.mark.proves("LG-07")
async def test_a_name_in_another_spelling_is_no_other_user(dsn):
    async with serving(dsn, FEW) as server, server.browser() as browser:
        await add_user(server.services, "iris", PASSWORD)
        await browser.open("/authorize", Flow(server).parameters())
        spellings = ["iris", "IRIS", "\u0130ris", "\u0130r\u0130s"]
        guesses = [await attempt(browser, WRONG, name=name) for name in spellings]
        # What is the same name to the database, in its locale, is counted as one.
        known = {
            name
            for name in spellings
            if await server.db.row(
                "SELECT 1 FROM users WHERE lower(name) = lower(%(name)s)", name=name
            )
        }
        tried = [
            guess.status_code
            for guess, name in zip(guesses, spellings, strict=True)
            if name in known
        ]
        assert len(tried) >= 2
        assert tried == [401, 401, *[429] * (len(tried) - 2)]


@pytest.mark.proves("LG-07", "RL-01")
async def test_a_lock_costs_no_work(dsn, monkeypatch):
    async with serving(dsn, FEW) as server, server.browser() as browser:
        await browser.open("/authorize", Flow(server).parameters())
        await statuses(browser, WRONG, WRONG)
        monkeypatch.setattr(bcrypt, "checkpw", None)
        assert await statuses(browser, WRONG, PASSWORD) == [429, 429]


@pytest.mark.proves("LG-04", "LG-07")
async def test_a_name_that_nobody_has_is_locked_like_one_that_somebody_has(dsn):
    async with serving(dsn, FEW) as server, server.browser() as browser:
        await browser.open("/authorize", Flow(server).parameters())
        for name in ("nobody", "n o b o d y", "", "n" * 5000):
            assert await statuses(browser, *[WRONG] * 3, name=name) == [401, 401, 429]


@pytest.mark.proves("LG-07")
async def test_a_lock_is_for_one_user_in_one_network(dsn):
    async with serving(dsn, FEW) as server, server.browser() as browser:
        await add_user(server.services, "bob", PASSWORD)
        await browser.open("/authorize", Flow(server).parameters())
        assert await statuses(browser, WRONG, WRONG, PASSWORD) == [401, 401, 429]
        assert await statuses(browser, WRONG, name="bob") == [401]
        assert await statuses(browser, WRONG, network="192.0.2.2") == [401]
        assert await statuses(browser, PASSWORD, network="192.0.2.2") == [303]


@pytest.mark.proves("LG-07", "RL-03")
async def test_many_networks_lock_a_user_and_many_users_lock_a_network(dsn):
    async with serving(dsn, FEW) as server, server.browser() as browser:
        await browser.open("/authorize", Flow(server).parameters())
        for number in range(20):
            assert await statuses(browser, WRONG, network=f"198.51.100.{number}") == [401]
        assert await statuses(browser, PASSWORD) == [429]
        for number in range(20):
            assert await statuses(browser, WRONG, name=f"user{number}") == [401]
        assert await statuses(browser, WRONG, name="another") == [429]
        assert await statuses(browser, WRONG, name="another", network="192.0.2.2") == [401]


@pytest.mark.proves("LG-07")
async def test_a_lock_touches_no_session_and_no_token(dsn):
    async with serving(dsn, FEW) as server, server.browser() as hers, server.browser() as thief:
        flow = Flow(server)
        tokens = await flow.tokens()
        await flow.ask(hers)
        await thief.open("/authorize", flow.parameters())
        assert await statuses(thief, *[WRONG] * 3) == [401, 401, 429]
        assert (await flow.call_mcp(tokens["access_token"])).status_code == 200
        assert (await flow.refresh(tokens["refresh_token"])).status_code == 200
        assert "code" in await hers.approve()


@pytest.mark.proves("LG-07")
async def test_the_right_password_starts_the_count_anew(dsn):
    async with serving(dsn, FEW) as server, server.browser() as browser:
        for _ in range(3):
            await browser.open("/authorize", Flow(server).parameters(prompt="login"))
            assert await statuses(browser, WRONG, PASSWORD) == [401, 303]


@pytest.mark.proves("LG-06")
async def test_passwords_beyond_the_queue_are_not_checked_and_nobody_else_waits(dsn, monkeypatch):
    # Two threads and a queue of 32.
    settings = {"limits": {"login": {"failures": 1000}}}
    go_on, check = threading.Event(), bcrypt.checkpw

    def slow(password, stored):
        go_on.wait(20)
        return check(password, stored)

    async with serving(dsn, settings) as server, server.browser() as browser:
        await browser.open("/authorize", Flow(server).parameters())
        monkeypatch.setattr(bcrypt, "checkpw", slow)
        waiting = {asyncio.ensure_future(attempt(browser, WRONG)) for _ in range(40)}
        try:
            refused = set()
            while len(refused) < 6:
                done, waiting = await asyncio.wait(
                    waiting, timeout=10, return_when=asyncio.FIRST_COMPLETED
                )
                refused |= done
            for response in [await task for task in refused]:
                assert response.status_code == 503
                assert response.headers["retry-after"] == "2"
                assert "<h1>Not available right now</h1>" in response.text
            async with server.http() as http:
                assert (await http.get("/")).status_code == 200
            assert len(waiting) == 34
        finally:
            go_on.set()
        assert {(await task).status_code for task in waiting} == {401}
        browser.http.cookies.clear()
        await browser.open("/authorize", Flow(server).parameters())
        assert (await browser.log_in(USER, PASSWORD)).url.path == "/consent"
