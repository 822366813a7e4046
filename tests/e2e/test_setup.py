"""``/setup``: a link that makes the first user, once."""

import asyncio

import bcrypt
import pytest
from serving import Flow, add_user, serving

from mcpserve import crypto
from mcpserve.oauth import users

NAME = "ada"
PASSWORD = "correct horse battery"


async def link(server):
    """Return a new setup link's token, as a start of the server makes it."""
    token = await users.new_setup_link(server.db)
    assert token is not None
    return token


def answers(token, **changes):
    """Return the form, filled in well but for the changes."""
    good = {
        "setup": token,
        "username": NAME,
        "password": PASSWORD,
        "password_again": PASSWORD,
    }
    return good | changes


async def names(server):
    return [row.name for row in await server.db.rows("SELECT name FROM users ORDER BY name")]


def is_spent(response):
    """Whether the page says that the link does not work."""
    said = "<h1>This link does not work any more</h1>" in response.text
    assert said == (response.status_code == 404)
    return said


async def test_the_link_makes_the_first_user_who_can_log_in(dsn):
    async with serving(dsn, with_user=False) as server, server.browser() as browser:
        token = await link(server)
        assert (await browser.open("/setup", {"token": token})).status_code == 200
        done = await browser.submit(username=NAME, password=PASSWORD, password_again=PASSWORD)
        assert done.status_code == 200
        assert server.services.server.resource in done.text
        assert PASSWORD not in done.text
        await browser.open("/authorize", Flow(server).parameters())
        await browser.log_in(NAME, PASSWORD)
        assert "code" in await browser.approve()


async def test_the_link_works_once(dsn):
    async with serving(dsn, with_user=False) as server, server.http() as http:
        token = await link(server)
        assert (await http.post("/setup", data=answers(token))).status_code == 200
        assert is_spent(await http.get("/setup", params={"token": token}))
        assert is_spent(await http.post("/setup", data=answers(token, username="eve")))
        assert await names(server) == [NAME]


async def test_looking_at_the_page_does_not_spend_the_link(dsn):
    async with serving(dsn, with_user=False) as server, server.http() as http:
        token = await link(server)
        pages = [await http.get("/setup", params={"token": token}) for _ in range(2)]
        assert pages[0].text == pages[1].text
        assert (await http.post("/setup", data=answers(token))).status_code == 200


async def test_of_many_people_at_once_one_becomes_the_first_user(dsn):
    async with serving(dsn, with_user=False) as server, server.http() as http:
        for _ in range(5):
            token = await link(server)
            responses = await asyncio.gather(
                *(
                    http.post("/setup", data=answers(token, username=f"user{number}"))
                    for number in range(8)
                )
            )
            assert sorted(response.status_code for response in responses) == [200, *[404] * 7]
            assert len(await names(server)) == 1
            await server.db.execute("DELETE FROM users")


async def test_a_link_that_is_not_ours_shows_nothing(dsn):
    async with serving(dsn, with_user=False) as server, server.http() as http:
        await link(server)
        for token in ("", "x", "x" * 43, "é"):
            assert is_spent(await http.get("/setup", params={"token": token}))
            assert is_spent(await http.post("/setup", data=answers(token)))
        assert is_spent(await http.get("/setup"))
        assert await names(server) == []


async def test_a_link_expires(dsn):
    async with serving(dsn, with_user=False) as server, server.http() as http:
        token = await link(server)
        row = await server.db.one("SELECT expires_at - clock_timestamp() AS left FROM setup_links")
        assert abs(row.left.total_seconds() - 24 * 3600) < 5
        await server.db.execute("UPDATE setup_links SET expires_at = clock_timestamp()")
        assert is_spent(await http.get("/setup", params={"token": token}))
        assert is_spent(await http.post("/setup", data=answers(token)))
        assert await names(server) == []


async def test_a_new_start_replaces_the_link(dsn):
    async with serving(dsn, with_user=False) as server, server.http() as http:
        old, new = await link(server), await link(server)
        assert is_spent(await http.get("/setup", params={"token": old}))
        assert is_spent(await http.post("/setup", data=answers(old)))
        assert (await http.post("/setup", data=answers(new))).status_code == 200


async def test_a_link_is_worth_nothing_once_there_is_a_user(dsn):
    async with serving(dsn, with_user=False) as server, server.http() as http:
        token = await link(server)
        await add_user(server.services, "root", PASSWORD)
        assert is_spent(await http.get("/setup", params={"token": token}))
        assert is_spent(await http.post("/setup", data=answers(token)))
        assert await names(server) == ["root"]
        assert await users.new_setup_link(server.db) is None


@pytest.mark.proves("SE-04")
async def test_a_link_is_stored_as_its_digest(dsn):
    async with serving(dsn, with_user=False) as server:
        token = await link(server)
        assert len(token) == 43  # 256 bits
        row = await server.db.one("SELECT digest, s::text AS everything FROM setup_links s")
        assert row.digest == crypto.digest(token)
        assert token not in row.everything


BAD = [
    ({"password": "short", "password_again": "short"}, "at least 12 characters"),
    ({"password": "", "password_again": ""}, "at least 12 characters"),
    ({"password_again": PASSWORD + "x"}, "The two passwords differ"),
    ({"password": "x" * 73, "password_again": "x" * 73}, "at most 72 bytes"),
    (dict.fromkeys(("password", "password_again"), "\U0001f511" * 25), "at most 72 bytes"),
    ({"username": ""}, "1 to 100 characters"),
    ({"username": "a b"}, "no spaces"),
    ({"username": "x" * 101}, "1 to 100 characters"),
]


@pytest.mark.proves("LG-05")
async def test_a_bad_name_or_password_keeps_the_link(dsn):
    async with serving(dsn, with_user=False) as server, server.browser() as browser:
        token = await link(server)
        for changes, problem in BAD:
            response = await browser.http.post("/setup", data=answers(token, **changes))
            assert (response.status_code, problem in response.text) == (400, True), changes
            browser.page = response
            assert (browser.fields()["password"], browser.fields()["password_again"]) == ("", "")
        assert await names(server) == []
        done = await browser.submit(username=NAME, password=PASSWORD, password_again=PASSWORD)
        assert (done.status_code, await names(server)) == (200, [NAME])


@pytest.mark.proves("TR-08")
async def test_a_password_with_control_characters_is_refused(dsn):
    async with serving(dsn, with_user=False) as server, server.http() as http:
        token = await link(server)
        bad = dict.fromkeys(("password", "password_again"), "correct\0horse battery")
        assert (await http.post("/setup", data=answers(token, **bad))).status_code == 400
        assert (await http.post("/setup", data=answers(token))).status_code == 200


async def test_a_wrong_link_costs_no_hashing(dsn, monkeypatch):
    async with serving(dsn, with_user=False) as server, server.http() as http:
        await link(server)
        monkeypatch.setattr(bcrypt, "hashpw", None)
        assert is_spent(await http.post("/setup", data=answers("x" * 43)))


@pytest.mark.proves("LG-05")
async def test_the_hashed_password_is_the_whole_of_it(dsn):
    async with serving(dsn, with_user=False) as server, server.http() as http:
        long = dict.fromkeys(("password", "password_again"), "é" * 36)  # 72 bytes
        await http.post("/setup", data=answers(await link(server), **long))
        row = await server.db.one("SELECT password_hash FROM users")
        assert bcrypt.checkpw(("é" * 36).encode(), row.password_hash.encode())
        assert not bcrypt.checkpw(("é" * 35).encode(), row.password_hash.encode())
