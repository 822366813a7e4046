"""The commands on a database: what they change, what they print, how they exit."""

import asyncio
import json
import re

import postgres
import pytest
from e2e.process import add_user, configure, invoke
from e2e.registering import register
from serving import CALLBACK, PASSWORD, PUBLIC_CLIENT, SECRET, SECRET_CLIENT, USER, Flow, serving


@pytest.fixture
def config(dsn, tmp_path):
    return configure(tmp_path, dsn=dsn)


def done(config, *words, stdin=""):
    """Run a command that must succeed, and return what it printed."""
    result = invoke(config, *words, stdin=stdin)
    assert (result.exit_code, result.stderr) == (0, ""), result.stderr
    return result.stdout


def column(table, name):
    """Return one column of a printed table."""
    head, *rows = table.splitlines()
    start = head.index(name)
    return [row[start:].split("  ")[0] for row in rows]


def test_config_may_stand_before_and_behind_the_command(config, tmp_path):
    other = tmp_path / "other.yaml"
    other.write_text("mcp: {name: other}")
    assert 'mcp.name: "mcpserve"' in done(config, "check", "--show")
    shown = done(config, "check", "--show", "-c", str(other))
    assert 'mcp.name: "other"' in shown


async def test_a_user_who_is_added_can_log_in(dsn, config):
    await asyncio.to_thread(add_user, config, "carol", "a long enough password")
    async with serving(dsn) as server, server.browser() as browser:
        await browser.open("/authorize", Flow(server).parameters())
        page = await browser.log_in("Carol", "a long enough password")
        assert page.url.path == "/consent"


def test_users_are_added_listed_disabled_and_enabled(config):
    done(config, "user", "add", USER, "--password-stdin", stdin=f"{PASSWORD}\n")
    assert column(done(config, "user", "list"), "NAME") == [USER]
    assert "ended" in done(config, "user", "disable", USER)
    assert column(done(config, "user", "list"), "STATE") == ["disabled"]
    done(config, "user", "enable", USER)
    assert column(done(config, "user", "list"), "STATE") == ["enabled"]


async def test_a_changed_password_is_the_only_one_that_works(dsn, config):
    async with serving(dsn) as server, server.browser() as browser:
        words = ("user", "password", USER, "--password-stdin")
        await asyncio.to_thread(done, config, *words, stdin="another long password\n")
        await browser.open("/authorize", Flow(server).parameters())
        assert (await browser.log_in(USER, PASSWORD)).status_code == 401
        assert (await browser.log_in(USER, "another long password")).status_code == 200


async def test_a_disabled_user_loses_every_grant(dsn, config):
    async with serving(dsn) as server:
        tokens = await Flow(server).tokens()
        await asyncio.to_thread(done, config, "user", "disable", USER)
        answer = await Flow(server).call_mcp(tokens["access_token"])
        assert answer.status_code == 401


def test_a_public_client_is_added_without_a_secret(config):
    uris = ["--redirect-uri", CALLBACK, "--redirect-uri", "http://127.0.0.1/callback"]
    words = ("client", "add", "--id", "desktop", "--name", "Desktop", *uris, "--public")
    assert "secret" not in done(config, *words)
    shown = done(config, "client", "show", "desktop")
    assert re.search(r"^methods +none$", shown, re.MULTILINE)
    assert CALLBACK in shown
    assert "http://127.0.0.1/callback" in shown


@pytest.mark.proves("CA-12", "AD-02")
async def test_a_made_secret_is_printed_once_and_works(dsn, config):
    words = ("client", "add", "--id", "web", "--redirect-uri", CALLBACK)
    printed = await asyncio.to_thread(done, config, *words)
    secret = re.search(r"client_secret  (mcps_cs_\S{43}) ", printed)[1]
    for later in (("client", "list"), ("client", "show", "web"), ("check", "--show")):
        assert secret not in await asyncio.to_thread(done, config, *later)
    stored = postgres.query(dsn, "SELECT client_secret_hash FROM oauth_clients")
    assert secret not in str(stored)
    async with serving(dsn) as server:
        assert (await Flow(server, client_id="web", secret=secret).tokens())["access_token"]


@pytest.mark.proves("AD-02")
async def test_a_secret_from_standard_input_works_and_is_not_printed(dsn, config):
    words = ("client", "add", "--id", "web", "--redirect-uri", CALLBACK, "--secret-stdin")
    printed = await asyncio.to_thread(done, config, *words, stdin=f"{SECRET}\n")
    assert SECRET not in printed
    async with serving(dsn) as server:
        assert (await Flow(server, client_id="web", secret=SECRET).tokens())["access_token"]


def test_a_client_is_overwritten_only_when_asked(config):
    words = ("client", "add", "--id", "web", "--public", "--redirect-uri")
    done(config, *words, CALLBACK)
    again = invoke(config, *words, "https://other.example/callback")
    assert (again.exit_code, "--replace" in again.stderr) == (1, True)
    done(config, *words, "https://other.example/callback", "--replace")
    assert CALLBACK not in done(config, "client", "show", "web")


@pytest.mark.proves("RF-08")
async def test_a_disabled_client_is_refused_until_it_is_enabled(dsn, config):
    async with serving(dsn) as server:
        tokens = await Flow(server).tokens()
        await asyncio.to_thread(done, config, "client", "disable", PUBLIC_CLIENT)
        assert (await Flow(server).call_mcp(tokens["access_token"])).status_code == 401
        refused = await Flow(server).refresh(tokens["refresh_token"])
        assert refused.json()["error"] == "invalid_client"
        table = await asyncio.to_thread(done, config, "client", "list")
        assert column(table, "STATE") == ["disabled", "enabled"]
        await asyncio.to_thread(done, config, "client", "enable", PUBLIC_CLIENT)
        assert (await Flow(server).tokens())["access_token"]


@pytest.mark.proves("AD-02", "CO-13", "RV-08")
async def test_a_revoked_grant_is_refused_at_the_next_request(dsn, config):
    async with serving(dsn) as server:
        mine = await Flow(server).tokens()
        other = await Flow(server).confidential().tokens()
        table = await asyncio.to_thread(done, config, "grant", "list")
        assert column(table, "CLIENT") == [SECRET_CLIENT, PUBLIC_CLIENT]
        assert column(table, "NAME") == ["Secret Client", "Public Client"]
        assert column(table, "USER") == [USER, USER]

        grant = column(table, "GRANT")[1]
        await asyncio.to_thread(done, config, "grant", "revoke", grant)
        assert (await Flow(server).call_mcp(mine["access_token"])).status_code == 401
        assert (await Flow(server).call_mcp(other["access_token"])).status_code == 200
        left = await asyncio.to_thread(done, config, "grant", "list")
        assert column(left, "CLIENT") == [SECRET_CLIENT]
        everything = await asyncio.to_thread(done, config, "grant", "list", "--all")
        assert column(everything, "STATE") == ["active", "revoked"]


@pytest.mark.proves("AD-02", "CO-13")
@pytest.mark.parametrize(
    ("chosen", "revoked"),
    [
        (("--client", PUBLIC_CLIENT), "1 grant"),
        (("--user", USER), "2 grants"),
        (("--all",), "2 grants"),
    ],
)
async def test_many_grants_are_revoked_at_once(dsn, config, chosen, revoked):
    async with serving(dsn) as server:
        tokens = await Flow(server).tokens()
        await Flow(server).confidential().tokens()
        printed = await asyncio.to_thread(done, config, "grant", "revoke", *chosen)
        assert printed == f"revoked {revoked}\n"
        assert (await Flow(server).call_mcp(tokens["access_token"])).status_code == 401


def test_cleanup_says_how_much_it_deleted(dsn, config):
    postgres.query(
        dsn,
        "INSERT INTO setup_links (digest, expires_at)"
        " VALUES (decode(repeat('00', 32), 'hex'), clock_timestamp() - interval '30 days')",
    )
    counts = dict(line.split() for line in done(config, "cleanup").splitlines())
    assert counts["setup_links"] == "1"
    assert counts["mcp_sessions"] == "0"


def test_db_init_brings_an_empty_database_up_to_date(empty_dsn, tmp_path):
    config = configure(tmp_path, dsn=empty_dsn)
    pending = invoke(config, "db", "check")
    assert pending.exit_code == 1
    assert re.search(r"pending +0001_initial.sql", pending.stdout)
    assert "mcpserve db init" in pending.stderr

    assert done(config, "db", "init").startswith("applied 0001_initial.sql")
    assert re.search(r"PostgreSQL \d+\.\d+\n +applied +0001_", done(config, "db", "check"))
    assert done(config, "db", "init") == "nothing to do\n"


def test_check_writes_nothing_and_says_ok(dsn, config):
    assert done(config, "check") == "ok\n"
    assert postgres.query(dsn, "SELECT 1 FROM oauth_clients") == []


def test_check_does_not_make_the_embedded_database(tmp_path):
    assert "at the first start" in done(configure(tmp_path), "check")
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


def test_check_shows_every_setting_and_its_source_without_secrets(config):
    shown = done(config, "check", "--show")
    assert re.search(r"^server\.port: \d+   # config\.yaml$", shown, re.MULTILINE)
    assert 'log.level: "info"   # default' in shown
    assert SECRET not in shown


def test_plugin_list_shows_what_is_on_and_what_could_be(config):
    shown = done(config, "plugin", "list")
    assert re.search(r"\ncalculator: on\n  package mcpserve-calculator \S+, environment\n", shown)
    assert "\nget_weather: off, not listed in config.yaml\n" in shown
    assert "  to switch it on:  plugins: {get_weather: {}}\n" in shown


def test_call_runs_a_tool_with_arguments_from_both_places(config):
    question = '{"expression": "0.1 + 0.2"}'
    assert json.loads(done(config, "call", "calculator", question))["value"] == 0.3
    assert json.loads(done(config, "call", "calculator", "-", stdin=question))["value"] == 0.3


def test_call_exits_with_1_when_the_tool_fails(config):
    result = invoke(config, "call", "calculator", '{"expression": "1/0"}')
    assert (result.exit_code, result.stdout) == (1, "")
    assert "zero" in result.stderr


def test_schema_knows_the_settings_and_those_of_the_plugins(tmp_path):
    config = configure(tmp_path, plugins={"get_weather": {}})
    schema = json.loads(done(config, "schema"))
    assert {"server", "oauth", "plugins"} <= schema["properties"].keys()
    weather = schema["properties"]["plugins"]["properties"]["get_weather"]
    assert "forecast_url" in weather["properties"]["config"]["properties"]


def test_a_preset_fills_in_a_client(config):
    result = invoke(config, "client", "add", "--preset", "chatgpt")
    assert result.exit_code == 0, result.stderr
    assert "https://chatgpt.com/connector/oauth/{id}" in result.stderr
    assert re.search("client_id +chatgpt\nclient_secret +mcps_cs_", result.stdout)
    shown = done(config, "client", "show", "chatgpt")
    assert re.search("^name +ChatGPT$", shown, re.M)
    assert "https://chatgpt.com/connector_platform_oauth_redirect\n" in shown
    assert "{id}" not in shown
    assert re.search("^reuse window +1m$", shown, re.M)


def test_what_is_given_beside_a_preset_wins(config):
    own = "https://chatgpt.com/connector/oauth/abc"
    words = ("--preset", "chatgpt", "--id", "mine", "--name", "Mine", "--reuse-window", "5s")
    # The pattern is not said to be missing, because this one fits it.
    done(config, "client", "add", *words, "--redirect-uri", own, "--public")
    shown = done(config, "client", "show", "mine")
    assert own in shown
    assert re.search("^name +Mine$", shown, re.M)
    assert re.search("^reuse window +5s$", shown, re.M)


@pytest.mark.parametrize("words", [(), ("--secret-stdin",), ("--introspection",)])
def test_a_preset_of_this_machine_is_a_public_client_unless_it_is_to_have_a_secret(config, words):
    printed = done(config, "client", "add", "--preset", "mcp-remote", *words, stdin="s" * 20)
    shown = done(config, "client", "show", "mcp-remote")
    methods = "client_secret_basic, client_secret_post" if words else "none"
    assert re.search(f"^methods +{methods}$", shown, re.M)
    assert ("client_secret " in printed) == (words == ("--introspection",))


@pytest.mark.proves("AD-02")
def test_a_disabled_client_that_is_overwritten_stays_so(config):
    words = ("client", "add", "--id", "web", "--public", "--redirect-uri", CALLBACK)
    done(config, *words)
    done(config, "client", "disable", "web")
    again = invoke(config, *words, "--replace")
    assert (again.exit_code, again.stderr) == (0, "it is disabled, see: mcpserve client enable\n")
    assert column(done(config, "client", "list"), "STATE") == ["disabled"]


def test_who_overwrites_what_the_configuration_keeps_is_told(dsn, tmp_path):
    kept = {"clients": {"configured": [{"id": "web", "redirect_uris": [CALLBACK]}]}}
    config = configure(tmp_path, dsn=dsn, oauth=kept)
    words = ("client", "add", "--id", "web", "--public", "--redirect-uri", CALLBACK)
    said = "oauth.clients.configured has this client, too: the next start undoes this\n"
    assert invoke(config, *words).stderr == said


@pytest.mark.parametrize("words", [("--id", "a"), ("--redirect-uri", CALLBACK), ()])
def test_a_client_without_preset_needs_id_and_redirect_uri(config, words):
    result = invoke(config, "client", "add", *words)
    assert result.exit_code == 2
    assert "--preset" in result.stderr


@pytest.mark.proves("DC-08")
async def test_registrations_that_are_alike_are_one_line(dsn, config):
    cursor = "https://www.cursor.com/agents/mcp/oauth/callback"
    async with serving(dsn) as server:
        for port in (1, 2, 3):
            uri = f"http://127.0.0.1:{port}/callback"
            last = await register(server, uri, client_name="Claude")
        await Flow(server, last, redirect_uri=uri).tokens()
        await register(server, uri, client_name="Other")
        await register(server, cursor, client_name="Cursor")
    table = await asyncio.to_thread(done, config, "client", "list")
    lines = dict(zip(column(table, "NAME"), table.splitlines()[1:], strict=True))
    assert len(lines) == 5
    assert re.match(rf"{last} +3 +Claude +public +registration +- +20..-..-.. ", lines["Claude"])
    assert re.search("1 +Cursor +public +registration +cursor +- +enabled", lines["Cursor"])
    each = await asyncio.to_thread(done, config, "client", "list", "--all")
    assert column(each, "NAME").count("Claude") == 3
    assert set(column(each, "COUNT")) == {"1"}
    await asyncio.to_thread(done, config, "client", "disable", last)
    table = await asyncio.to_thread(done, config, "client", "list")
    found = zip(column(table, "NAME"), column(table, "COUNT"), column(table, "STATE"), strict=True)
    assert {("Claude", "1", "disabled"), ("Claude", "2", "enabled")} <= set(found)
    shown = await asyncio.to_thread(done, config, "client", "show", last)
    assert re.search("^from +registration$", shown, re.M)
    assert re.search("^last login +20", shown, re.M)
