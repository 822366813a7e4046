"""The boxes of the consent page: what is not ticked is withheld, and remembered."""

import re

import pytest
from browser import Forms
from notes import call, listed, notes, withheld
from serving import PASSWORD, USER, Flow, serving

NOTES = {"look", "add", "wipe"}


def boxes(page):
    """Return the boxes of a page, and whether they are ticked."""
    found = re.findall(r'<input type="checkbox" name="tool" value="(.*?)"( checked)?>', page.text)
    assert len(found) == len(dict(found)), "one tool has two boxes"
    return {name: bool(ticked) for name, ticked in found}


async def decide(server, browser, **fields):
    """Press Allow; return the access token, and what the client sees."""
    answer = browser.answer(await browser.submit(button="approve", **fields))
    token = (await Flow(server).exchange(answer["code"])).json()["access_token"]
    return token, await listed(server, token)


async def test_all_is_ticked_and_allowed_at_first(dsn):
    async with serving(dsn, made=notes()) as server, server.browser() as browser:
        assert boxes(await Flow(server).ask(browser)) == dict.fromkeys(NOTES, True)
        _, seen = await decide(server, browser)
        assert (seen, await withheld(server)) == (NOTES, [set()])


@pytest.mark.parametrize("ticked", [["look"], []])
async def test_what_is_not_ticked_cannot_be_called(dsn, ticked):
    async with serving(dsn, made=notes()) as server, server.browser() as browser:
        await Flow(server).ask(browser)
        token, seen = await decide(server, browser, tool=ticked)
        assert (seen, await withheld(server)) == (set(ticked), [NOTES - set(ticked)])
        assert await call(server, token, "wipe") == (
            "The person has not allowed this client to use the tool wipe. They can allow it at "
            f"{server.services.server.issuer}/connections",
            True,
        )
        if ticked:
            assert await call(server, token, "look") == ("did look", False)


async def test_refreshing_widens_nothing(dsn):
    async with serving(dsn, made=notes()) as server, server.browser() as browser:
        flow = Flow(server)
        await flow.ask(browser)
        code = browser.answer(await browser.submit(button="approve", tool=["look"]))["code"]
        first = (await flow.exchange(code)).json()
        second = (await flow.refresh(first["refresh_token"])).json()
        assert await listed(server, second["access_token"]) == {"look"}


async def test_the_next_connection_is_asked_as_the_person_left_the_last_one(dsn):
    async with serving(dsn, made=notes()) as server, server.browser() as browser:
        await Flow(server).ask(browser)
        await decide(server, browser, tool=["look", "add"])
    async with (
        serving(dsn, made=notes("look", "add", "wipe", "new"), with_user=False) as server,
        server.browser() as browser,
    ):
        page = await Flow(server).ask(browser)
        assert boxes(page) == {"look": True, "add": True, "wipe": False, "new": True}
        _, seen = await decide(server, browser)
        assert seen == {"look", "add", "new"}
        # Another client of the same person was never told no.
        assert all(boxes(await Flow(server).confidential().ask(browser)).values())


async def test_a_tool_that_was_gone_for_a_while_is_still_withheld(dsn):
    async with serving(dsn, made=notes()) as server, server.browser() as browser:
        await Flow(server).ask(browser)
        await decide(server, browser, tool=["look", "add"])
    async with serving(dsn, made=notes("look"), with_user=False) as server:
        async with server.browser() as browser:
            assert boxes(await Flow(server).ask(browser)) == {"look": True}
            await decide(server, browser)
        assert await withheld(server) == [{"wipe"}, {"wipe"}]


async def test_a_tool_that_comes_later_is_covered_by_its_scope(dsn):
    async with serving(dsn, made=notes()) as server, server.browser() as browser:
        await Flow(server).ask(browser)
        token, _ = await decide(server, browser, tool=["look"])
    public = {"server": {"public_url": server.services.server.issuer}}
    async with serving(dsn, public, made=notes("look", "add", "new"), with_user=False) as server:
        assert await listed(server, token) == {"look", "new"}


async def test_approval_without_asking_keeps_what_was_withheld(dsn):
    async with serving(dsn, made=notes()) as server, server.browser() as browser:
        await Flow(server).ask(browser)
        await decide(server, browser, tool=["look"])
    settings = {"oauth": {"auto_approve": True}}
    async with serving(dsn, settings, made=notes(), with_user=False) as server:
        async with server.browser() as browser:
            await browser.open("/authorize", Flow(server).parameters())
            code = browser.answer(await browser.log_in(USER, PASSWORD))["code"]
        token = (await Flow(server).exchange(code)).json()["access_token"]
        assert await listed(server, token) == {"look"}


async def test_what_the_page_did_not_show_is_neither_allowed_nor_withheld(dsn):
    async with serving(dsn, made=notes()) as server, server.browser() as browser:
        await Flow(server).ask(browser)
        await decide(server, browser, tool=["look", "add"])
    async with serving(dsn, made=notes("look"), with_user=False) as server:
        async with server.browser() as browser:
            await Flow(server).ask(browser)
            await decide(server, browser, tool=["look", "wipe", "add", "no such tool", ""])
        assert await withheld(server) == [{"wipe"}, {"wipe"}]


async def other_tools(server, dsn):
    return notes("look", "add", "wipe", "new")


async def fewer_tools(server, dsn):
    return notes("look", "add")


async def other_grant(server, dsn):
    await Flow(server).tokens()
    await server.db.execute("UPDATE mcp_sessions SET withheld_tools = '{wipe}'")
    return notes()


@pytest.mark.proves("CO-07")
@pytest.mark.parametrize("change", [other_tools, fewer_tools, other_grant])
async def test_a_form_that_does_not_show_how_things_are_now_decides_nothing(dsn, change):
    async with serving(dsn, made=notes()) as server, server.browser() as browser:
        page = await Flow(server).ask(browser)
        form = browser.fields() | {"decision": "approve"}
        now = await change(server, dsn)
        async with serving(dsn, made=now, with_user=False) as changed:
            cookies = {"mcpserve": browser.http.cookies["mcpserve"]}
            async with changed.http(cookies=cookies) as http:
                codes = "SELECT count(*) AS n FROM oauth_authorization_codes WHERE used_at IS NULL"
                answer = await http.post("/authorize/decision", data=form)
                assert answer.headers["location"].startswith("/consent?")
                assert (await server.db.one(codes)).n == 0
                again = await http.get(answer.headers["location"])
                fields = Forms(again.text).forms[0]["fields"]
                assert boxes(again) != boxes(page)
                fields["decision"] = "approve"
                answer = await http.post("/authorize/decision", data=fields)
                assert "code=" in answer.headers["location"]


async def test_a_shown_page_that_is_forged_decides_nothing(dsn):
    async with serving(dsn, made=notes()) as server, server.browser() as browser:
        await Flow(server).ask(browser)
        for shown in ("", "0" * 64, browser.fields()["csrf"]):
            form = browser.fields() | {"decision": "approve", "shown": shown}
            answer = await browser.http.post("/authorize/decision", data=form)
            assert answer.headers["location"].startswith("/consent?")


async def test_more_tools_than_other_forms_may_have_fields(dsn):
    names = [f"tool{at}" for at in range(150)]
    async with serving(dsn, made=notes(*names)) as server, server.browser() as browser:
        assert len(boxes(await Flow(server).ask(browser))) == 150
        _, seen = await decide(server, browser, tool=names[:120])
        assert await withheld(server) == [set(names[120:])]
        assert len(seen) == 100
