"""What differs between two configurations, said without secrets."""

import pytest
from exchanges import bound

from mcpserve import changes, tool
from mcpserve.registry import Registry, ToolRegistry
from mcpserve.settings import Settings

KEY, OTHER_KEY = "k" * 32, "l" * 32
CLIENT = {"id": "a", "redirect_uris": ["https://a.example/callback"], "secret": "first secret"}


def settings(**sections):
    return Settings.model_validate(sections)


DIFFERENT = {
    "nothing": ({}, {}, {}),
    "what says the default": ({}, {"mcp": {"name": "mcpserve"}}, {}),
    "a value": (
        {"log": {"level": "debug"}},
        {"log": {"level": "error"}},
        {"log.level": '"debug" → "error"'},
    ),
    "a value that is no longer set": (
        {"log": {"level": "debug"}},
        {},
        {"log.level": '"debug" → not set'},
    ),
    "a plugin more": (
        {},
        {"plugins": {"a": {}, "b": {"concurrency": 2}}},
        {"plugins.a": "not set → {}", "plugins.b.concurrency": "not set → 2"},
    ),
    "a plugin's own settings": (
        {"plugins": {"a": {"config": {"pin": 1234}}}},
        {"plugins": {"a": {"config": {"pin": 5678}}}},
        {"plugins.a.config.pin": "changed"},
    ),
    "a secret": (
        {"oauth": {"clients": {"configured": [CLIENT]}}},
        {"oauth": {"clients": {"configured": [{**CLIENT, "secret": "second secret"}]}}},
        {"oauth.clients.configured.0.secret": '"**********" → "**********"'},
    ),
    "secrets in a list": (
        {"oauth": {"keys": [KEY]}},
        {"oauth": {"keys": [OTHER_KEY]}},
        {"oauth.keys": '["**********"] → ["**********"]'},
    ),
    "the password of a database": (
        {"database": {"url": "postgresql://u:first@host/db"}},
        {"database": {"url": "postgresql://u:second@host/db"}},
        {"database.url": '"**********" → "**********"'},
    ),
}


@pytest.mark.parametrize("what", DIFFERENT)
def test_settings_that_differ_are_named_and_secrets_are_not(what):
    old, new, told = DIFFERENT[what]
    found = changes.changed_settings(settings(**old), settings(**new))
    assert found == told
    for secret in ("secret", KEY, OTHER_KEY, "first", "second", "1234", "5678"):
        assert secret not in "".join(found.values())


def test_what_only_a_start_can_change_stays_and_is_named():
    running = settings(server={"port": 3000}, mcp={"name": "a"})
    read = settings(
        server={"port": 1, "host": "0.0.0.0", "public_url": "https://a.example"},
        database={"url": "postgresql://host/db", "pool_size": 3},
        data_dir="elsewhere",
        plugins_dir="elsewhere/plugins",
        tracing={"sample": 0.5},
        mcp={"name": "b"},
    )
    kept = changes.until_start(read, running)
    assert changes.changed_settings(running, kept).keys() == {"mcp.name", "server.public_url"}
    assert changes.at_start(changes.changed_settings(running, read)) == [
        "data_dir",
        "database.pool_size",
        "database.url",
        "plugins_dir",
        "server.host",
        "server.port",
        "tracing.sample",
    ]


def add(a: int, b: int) -> int:
    """Add."""
    return a + b


def add_text(a: int, b: str) -> int:
    """Add."""
    return a


def served(*functions, **settings):
    return changes.served(Registry(ToolRegistry([bound(each, **settings) for each in functions])))


OFFERS = {
    "nothing": (tool(add), {}, (), False),
    "the schema": (tool(name="add")(add_text), {}, ("input schema", "output schema"), True),
    "the description": (tool(description="Sum.")(add), {}, ("description",), True),
    "the title": (tool(title="Sum")(add), {}, ("title",), True),
    "the timeout": (tool(add), {"timeout": "5s"}, ("timeout 30 s → 5 s",), False),
    "the scopes": (
        tool(add),
        {"scopes": ["sums"]},
        ("scopes mcp.tools.call → mcp.tools.call sums",),
        False,
    ),
}


@pytest.mark.parametrize("what", OFFERS)
async def test_what_a_client_is_told_otherwise_has_to_be_refreshed(what):
    made, settings, aspects, refreshed = OFFERS[what]
    found = changes.compare(served(add), served(made, **settings))
    assert found.changed.get("tool add", ()) == aspects
    assert found.has_to_be_refreshed == refreshed


async def test_what_is_there_more_or_less_has_to_be_refreshed():
    one, two = served(add), served(add, tool(name="more")(add_text))
    for before, after, line in ((one, two, "+ tool more"), (two, one, "- tool more")):
        found = changes.compare(before, after)
        assert (found.lines(), found.has_to_be_refreshed) == ([line], True)
