"""The profile tool, as ChatGPT reads it."""

import jsonschema
import pytest

from mcpserve import ToolContext, User, hookimpl, profile
from mcpserve.principal import ANONYMOUS
from mcpserve.testing import load_plugin

EVERYTHING = User("0b9d", "alice", "alice@example.org", email_verified=True)


def shown():
    """Return the tool as tools/list shows it."""
    [tool] = profile.mcpserve_tools()
    return tool.definition.model_dump(mode="json", by_alias=True, exclude_none=True)


def test_it_says_of_itself_what_is_asked_for():
    told = shown()
    assert told["_meta"] == {"openai/profile": True}
    assert told["annotations"] == {
        "readOnlyHint": True,
        "destructiveHint": False,
        "idempotentHint": True,
        "openWorldHint": False,
    }
    assert (told["inputSchema"]["properties"], told["inputSchema"]["type"]) == ({}, "object")
    schema = told["outputSchema"]
    assert (schema["type"], schema["required"]) == ("object", ["id"])
    assert schema["additionalProperties"] is False
    assert {name: value["type"] for name, value in schema["properties"].items()} == dict.fromkeys(
        ("id", "name", "email"), "string"
    )


@pytest.mark.parametrize(
    ("user", "answer"),
    [
        (User("0b9d"), {"id": "0b9d"}),
        (User("0b9d", "alice"), {"id": "0b9d", "name": "alice"}),
        (EVERYTHING, {"id": "0b9d", "name": "alice", "email": "alice@example.org"}),
        (User("0b9d", email="alice@example.org"), {"id": "0b9d"}),
    ],
)
async def test_it_tells_what_the_person_allows_and_nothing_empty(user, answer):
    async with load_plugin(profile) as loaded:
        loaded.user = user
        loaded.scopes |= {"profile", "email"}
        result = await loaded.call("get_profile")
    assert not result.is_error
    assert result.structured_content == answer
    jsonschema.validate(answer, shown()["outputSchema"])


async def test_it_takes_no_arguments():
    async with load_plugin(profile) as loaded:
        assert (await loaded.call("get_profile", verbose=True)).is_error


async def test_without_a_login_it_fails_instead_of_making_somebody_up():
    async with load_plugin(profile) as loaded:
        loaded.user = None
        result = await loaded.call("get_profile")
    assert (result.is_error, result.content[0].text) == (True, "nobody is logged in")


class Greeter:
    """A plugin that asks who it is, and says who called."""

    @hookimpl
    def mcpserve_tools(self):
        """See the hook."""

        async def greet(context: ToolContext) -> str:
            """Greet."""
            user = await context.user()
            return f"{user} {context.principal.subject!r} {context.principal.anonymous}"

        return [greet]


async def test_tests_of_plugins_choose_the_person():
    async with load_plugin(Greeter()) as greeter:
        greeter.scopes |= {"profile", "email"}
        default = (await greeter.call("greet")).content[0].text
        greeter.user = EVERYTHING
        chosen = (await greeter.call("greet")).content[0].text
        greeter.user = None
        nobody = (await greeter.call("greet")).content[0].text
    user = User("test-user", "test", "test@example.org", email_verified=True)
    assert default == f"{user} 'test-user' False"
    assert chosen == f"{EVERYTHING} '0b9d' False"
    assert nobody == "None '' True"


@pytest.mark.parametrize(
    ("scopes", "known"),
    [
        ((), User("0b9d")),
        (("profile",), User("0b9d", "alice")),
        (("email",), User("0b9d", email="alice@example.org", email_verified=True)),
    ],
)
async def test_tests_of_plugins_learn_no_more_of_a_person_than_the_scopes_allow(scopes, known):
    async with load_plugin(Greeter()) as greeter:
        greeter.user = EVERYTHING
        greeter.scopes |= set(scopes)
        assert (await greeter.call("greet")).content[0].text == f"{known} '0b9d' False"


async def test_nobody_is_looked_up_without_a_login():
    async def find_user(principal):
        raise AssertionError("looked up")

    assert await ToolContext(ANONYMOUS, find_user=find_user).user() is None
