"""The keys of the reuse window: where they are kept, how they change, what happens without."""

import asyncio
import logging
import re

import postgres
import pytest
from e2e.process import configure, invoke
from pydantic import SecretStr
from serving import Flow, serving
from tables import contents, unchanged

from mcpserve import crypto
from mcpserve.db import Database
from mcpserve.errors import ConfigError
from mcpserve.oauth import keys
from mcpserve.oauth.keys import KeyRing

OLD, NEW, TYPO = ("old-" * 11, "new-" * 11, "nev-" * 11)
OLD_ID, NEW_ID, TYPO_ID = (crypto.key_id(key.encode()) for key in (OLD, NEW, TYPO))
PUBLIC_URL = "http://localhost:3000"
CLOSE = """UPDATE oauth_refresh_tokens SET reusable_until = clock_timestamp()
    WHERE reusable_until IS NOT NULL"""


def holding(*held):
    """Return settings with these keys, the one to use first in front; all for one public URL."""
    return {
        "oauth": {"keys": list(held), "refresh_reuse_window": "30s"},
        "server": {"public_url": PUBLIC_URL},
    }


def error(answer):
    return (answer.status_code, answer.json()["error"])


def pair(answer):
    return (answer.json()["access_token"], answer.json()["refresh_token"])


def known(dsn):
    """Return each key: whether it is in the database, and whether it was retired."""
    rows = postgres.query(dsn, "SELECT key_id, secret, retired_at FROM server_keys")
    return {key_id: (secret is not None, retired is not None) for key_id, secret, retired in rows}


def used(dsn):
    """Return the keys of open windows."""
    rows = postgres.query(dsn, "SELECT key_id FROM oauth_refresh_tokens WHERE salt IS NOT NULL")
    return [key_id for (key_id,) in rows]


async def command(tmp_path, dsn, held, *words):
    """Run a command with these keys in the configuration."""
    config = configure(tmp_path, dsn=dsn, **holding(*held))
    return await asyncio.to_thread(invoke, config, *words)


async def refreshed(server):
    """Return a refresh token that was used, and the answer to it."""
    token = (await Flow(server).tokens())["refresh_token"]
    answer = await Flow(server).refresh(token)
    assert answer.status_code == 200
    return token, answer


async def started_and_stopped(dsn, *configured):
    """Do with these keys what a server does when it starts."""
    async with Database.connect(dsn) as db:
        await keys.prepare(db, KeyRing.of(map(SecretStr, configured)))


async def after_an_answer(dsn, *held):
    """Start and stop a server that answered a refresh; return the token and the answer."""
    async with serving(dsn, holding(*held)) as server:
        return await refreshed(server)


@pytest.mark.proves("SE-04", "SE-01")
async def test_a_configured_key_is_nowhere_but_in_the_configuration(dsn, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    async with serving(dsn, holding(OLD)) as server:
        await refreshed(server)
        shown = [repr(server.services.issuance), repr(server.services.settings)]
    assert known(dsn) == {OLD_ID: (False, False)}
    assert used(dsn) == [OLD_ID]
    for words in (("check", "--show"), ("key", "list")):
        result = await command(tmp_path, dsn, [OLD], *words)
        assert result.exit_code == 0
        shown.append(result.stdout + result.stderr)
    shown += [row for rows in contents(dsn).values() for row in rows] + [caplog.text]
    for secret in (OLD, OLD.encode().hex(), repr(OLD.encode())):
        assert [text for text in shown if secret in text] == []


@pytest.mark.proves("SE-01")
async def test_a_key_of_the_database_is_not_shown(dsn, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    await after_an_answer(dsn)
    [(secret,)] = postgres.query(dsn, "SELECT secret FROM server_keys")
    result = await command(tmp_path, dsn, [], "key", "list")
    said = result.stdout + result.stderr + caplog.text
    assert bytes(secret).hex() not in said
    assert repr(bytes(secret)) not in said


async def test_a_server_makes_a_key_once(dsn):
    token, answer = await after_an_answer(dsn)
    assert list(known(dsn).values()) == [(True, False)]
    before = known(dsn)
    async with serving(dsn, holding(), with_user=False) as server:
        assert pair(await Flow(server).refresh(token)) == pair(answer)
    assert known(dsn) == before


@pytest.mark.proves("CC-02")
async def test_another_key_in_front_is_used_and_the_one_before_still_repeats(dsn):
    token, answer = await after_an_answer(dsn, OLD)
    async with serving(dsn, holding(NEW, OLD), with_user=False) as server:
        flow = Flow(server)
        assert pair(await flow.refresh(token)) == pair(answer)
        assert (await flow.refresh(pair(answer)[1])).status_code == 200
    assert used(dsn) == [NEW_ID]


@pytest.mark.proves("CC-02")
async def test_keys_may_move_from_the_database_to_the_configuration(dsn):
    token, answer = await after_an_answer(dsn)
    async with serving(dsn, holding(NEW), with_user=False) as server:
        assert pair(await Flow(server).refresh(token)) == pair(answer)
        await Flow(server).refresh(pair(answer)[1])
    assert used(dsn) == [NEW_ID]


@pytest.mark.proves("SE-06")
@pytest.mark.parametrize("held", [[], [TYPO]], ids=["left out", "mistyped"])
async def test_without_a_key_that_grants_may_need_no_server_starts(dsn, tmp_path, held):
    await after_an_answer(dsn, OLD)
    told = (
        f"oauth.keys: the key {OLD_ID} is missing, which 1 live grant may need: "
        f"put it back, or retire it with mcpserve key retire {OLD_ID}"
    )
    here = f"oauth.keys has {TYPO_ID}, which no server knew before"
    lines = [told, here] if held else [told]
    with unchanged(dsn):
        with pytest.raises(ConfigError) as refused:
            await started_and_stopped(dsn, *held)
        assert str(refused.value) == "\n".join(lines)
        for words in (["serve"], ["check"]):
            result = await command(tmp_path, dsn, held, *words)
            assert result.exit_code == 2
            assert result.stderr == "".join(f"error: {line}\n" for line in lines)


@pytest.mark.proves("SE-06")
async def test_a_missing_key_that_is_retired_stops_nobody(dsn, tmp_path):
    token, answer = await after_an_answer(dsn, OLD)
    result = await command(tmp_path, dsn, [NEW], "key", "retire", OLD_ID, "--force")
    assert result.exit_code == 0
    async with serving(dsn, holding(NEW), with_user=False) as server:
        flow = Flow(server)
        assert error(await flow.refresh(token)) == (400, "invalid_grant")
        assert (await flow.refresh(pair(answer)[1])).status_code == 200


@pytest.mark.proves("SE-06")
async def test_a_server_with_nothing_but_retired_keys_does_not_start(dsn, tmp_path):
    await after_an_answer(dsn, OLD)
    await command(tmp_path, dsn, [NEW], "key", "retire", OLD_ID, "--force")
    with pytest.raises(ConfigError, match="every key here is retired"):
        await started_and_stopped(dsn, OLD)


@pytest.mark.proves("SE-06")
async def test_a_key_that_can_be_guessed_is_refused(dsn, tmp_path):
    result = await command(tmp_path, dsn, ["x" * 31], "check")
    assert result.exit_code == 2
    assert "oauth.keys.0: must have 32 characters at least" in result.stderr


async def test_a_key_is_retired_only_when_no_grant_needs_it(dsn, tmp_path):
    await after_an_answer(dsn, OLD)
    await started_and_stopped(dsn, NEW, OLD)
    words = ("key", "retire", OLD_ID)
    with unchanged(dsn):
        result = await command(tmp_path, dsn, [NEW, OLD], *words)
        assert result.exit_code == 1
        told = rf"the key {OLD_ID} is needed by 1 live grant until \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d"
        assert re.search(told, result.stderr)
    postgres.query(dsn, CLOSE)
    result = await command(tmp_path, dsn, [NEW, OLD], *words)
    said = f"retired {OLD_ID}; take it out of oauth.keys, for every server\n"
    assert (result.exit_code, result.stdout) == (0, said)
    assert known(dsn) == {OLD_ID: (False, True), NEW_ID: (False, False)}
    result = await command(tmp_path, dsn, [NEW, OLD], *words)
    assert (result.exit_code, result.stderr) == (1, f"error: the key {OLD_ID} was retired before\n")


@pytest.mark.parametrize("force", [(), ("--force",)])
@pytest.mark.parametrize("held", [(), (OLD,)])
async def test_the_key_in_use_is_not_retired(dsn, tmp_path, held, force):
    await after_an_answer(dsn, *held)
    [key_id] = known(dsn)
    with unchanged(dsn):
        result = await command(tmp_path, dsn, held, "key", "retire", key_id, *force)
        assert (result.exit_code, "is in use" in result.stderr) == (1, True)


@pytest.mark.proves("CC-03")
async def test_a_key_retired_by_force_takes_the_answer_and_ends_no_grant(dsn, tmp_path):
    async with serving(dsn, holding()) as server:
        token, answer = await refreshed(server)
        [key_id] = known(dsn)
        await command(tmp_path, dsn, [], "key", "add")
        result = await command(tmp_path, dsn, [], "key", "retire", key_id, "--force")
        assert (result.exit_code, result.stdout) == (0, f"retired {key_id}\n")
        assert known(dsn)[key_id] == (False, True)
        flow = Flow(server)
        with unchanged(dsn):
            assert error(await flow.refresh(token)) == (400, "invalid_grant")
        assert (await flow.call_mcp(pair(answer)[0])).status_code == 200
        # What happens after the window is the same with and without the key.
        postgres.query(dsn, CLOSE)
        assert error(await flow.refresh(token)) == (400, "invalid_grant")
        assert (await flow.call_mcp(pair(answer)[0])).status_code == 401


async def test_a_key_that_is_added_to_the_database_is_used_at_once(dsn, tmp_path):
    async with serving(dsn, holding()) as server:
        token, answer = await refreshed(server)
        [first] = known(dsn)
        said = (await command(tmp_path, dsn, [], "key", "add")).stdout
        [second] = set(known(dsn)) - {first}
        assert said.startswith(f"added {second}")
        assert pair(await Flow(server).refresh(token)) == pair(answer)
        await Flow(server).refresh(pair(answer)[1])
        assert used(dsn) == [second]


@pytest.mark.proves("TR-14")
async def test_a_replica_without_the_key_sends_its_client_to_another(dsn):
    # While a new key is rolled out. An invalid_grant would log the person out.
    async with (
        serving(dsn, holding(OLD)) as behind,
        serving(dsn, holding(NEW, OLD), with_user=False) as ahead,
    ):
        token, answer = await refreshed(ahead)
        with unchanged(dsn):
            refused = await Flow(behind).refresh(token)
            assert error(refused) == (503, "temporarily_unavailable")
            assert int(refused.headers["retry-after"]) > 0
        assert pair(await Flow(ahead).refresh(token)) == pair(answer)
        # A window of its own it opens with the key that it has.
        assert (await Flow(behind).refresh(pair(answer)[1])).status_code == 200
        assert used(dsn) == [OLD_ID]


@pytest.mark.parametrize(("held", "words"), [([OLD], []), ([], ["--for-config"])])
async def test_a_key_for_the_configuration_is_printed_once(dsn, tmp_path, held, words):
    with unchanged(dsn):
        said = (await command(tmp_path, dsn, held, "key", "add", *words)).stdout
    secret = re.search(r"^secret  (mcps_sk_\S{43}) ", said, re.M)[1]
    async with serving(dsn, holding(secret)):
        assert re.search(r"^key     (\w+)$", said, re.M)[1] in known(dsn)


async def test_the_keys_are_listed_with_who_needs_them(dsn, tmp_path):
    def rows(result):
        return [re.split(r"  +", line) for line in result.stdout.splitlines()]

    await after_an_answer(dsn)
    [made] = known(dsn)
    before, *_ = rows(await command(tmp_path, dsn, [OLD], "key", "list"))[1:]
    assert before == [OLD_ID, "configuration", "-", "not seen yet", "-"]
    await started_and_stopped(dsn, OLD)
    head, old, first = rows(await command(tmp_path, dsn, [OLD], "key", "list"))
    assert head == ["ID", "KEPT IN", "ADDED", "STATE", "NEEDED BY"]
    assert (old[0], old[1], *old[3:]) == (OLD_ID, "configuration", "in use", "-")
    assert (first[0], first[1], *first[3:]) == (made, "database", "kept", "1 live grant")
    await command(tmp_path, dsn, [OLD], "key", "retire", made, "--force")
    _, missing, retired = rows(await command(tmp_path, dsn, [], "key", "list"))
    assert (missing[1], missing[3]) == ("-", "missing")
    assert (retired[1], retired[3]) == ("-", "retired")


async def test_what_happens_to_keys_is_recorded(dsn, tmp_path):
    await after_an_answer(dsn)
    [first] = known(dsn)
    await command(tmp_path, dsn, [], "key", "add")
    await command(tmp_path, dsn, [], "key", "retire", first, "--force")
    [second] = set(known(dsn)) - {first}
    recorded = postgres.query(
        dsn, "SELECT event, details FROM auth_events WHERE event LIKE 'key.%' ORDER BY id"
    )
    assert recorded == [
        ("key.added", {"key_id": first, "kept_in": "database"}),
        ("key.added", {"key_id": second, "kept_in": "database"}),
        ("key.retired", {"key_id": first, "forced": True}),
    ]
