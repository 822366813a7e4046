"""``mcpserve.testing.running_server``: what the authors of plugins are promised of it."""

import socket
from pathlib import Path

import postgres
import pytest
from pydantic import BaseModel

from mcpserve import ToolContext, hookimpl, tool
from mcpserve.testing import PluginError, running_server, temporary_database


class Config(BaseModel, extra="forbid"):
    """What the sample is configured with."""

    greeting: str = "Hello"


class Greeter:
    """A plugin that keeps what it has seen."""

    def __init__(self):
        self.closed = False

    @hookimpl
    def mcpserve_config(self):
        """See the hook."""
        return Config

    @hookimpl
    def mcpserve_tools(self, config, exit_stack):
        """See the hook."""
        exit_stack.callback(setattr, self, "closed", True)

        @tool(scopes=["greet"])
        async def greet(ctx: ToolContext) -> list[str]:
            """Greet whoever calls."""
            user = await ctx.user()
            await ctx.progress(1, 2, "half")
            known = [user.name, user.email, str(user.email_verified)]
            return [config.greeting, *known, *sorted(ctx.principal.scopes)]

        return [greet]


async def test_the_client_is_logged_in_with_every_scope_and_as_a_known_person(dsn):
    greeter, seen = Greeter(), []

    async def progress(done, total, message):
        seen.append((done, total, message))

    settings = {"scopes": ["extra"], "tools": {"greet": {"scopes": ["more"]}}}
    async with running_server(greeter, {"greeting": "Hei"}, dsn=dsn, **settings) as client:
        result = await client.call_tool("greet", {}, progress_callback=progress)
        assert not greeter.closed
    assert greeter.closed
    greeting, name, email, verified, *scopes = result.structured_content["result"]
    assert (greeting, email, verified) == ("Hei", f"{name}@example.org", "True")
    assert {"mcp.tools.call", "greet", "extra", "more"} <= set(scopes)
    assert seen == [(1, 2, "half")]
    events = postgres.query(dsn, "SELECT DISTINCT event FROM auth_events")
    assert {"login.succeeded", "consent.given"} <= {event for (event,) in events}


async def test_servers_may_share_a_database_and_hang_up_at_the_end(dsn):
    async with running_server(Greeter(), dsn=dsn) as one, running_server(Greeter(), dsn=dsn) as two:
        names = [
            (await client.call_tool("greet")).structured_content["result"][1]
            for client in (one, two)
        ]
    assert names[0] != names[1]


async def test_a_failure_in_the_test_comes_out_as_it_is(dsn):
    with pytest.raises(ZeroDivisionError):
        async with running_server(Greeter(), dsn=dsn):
            raise ZeroDivisionError


async def test_what_would_stop_the_server_stops_the_test(dsn, monkeypatch):
    opened = []
    real = socket.socket.bind
    monkeypatch.setattr(
        socket.socket, "bind", lambda self, address: (opened.append(self), real(self, address))[1]
    )
    with pytest.raises(PluginError, match=r"config\.greetings: unknown key"):
        async with running_server(Greeter(), {"greetings": "Hei"}, dsn=dsn):
            pass
    assert opened
    assert all(bound.fileno() == -1 for bound in opened)


def test_a_temporary_database_leaves_nothing_behind():
    with temporary_database() as dsn:
        ((folder,),) = postgres.query(dsn, "SHOW data_directory")
        assert Path(folder).exists()
    assert not Path(folder).parent.exists()
