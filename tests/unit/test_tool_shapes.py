"""What may become a tool, and how arguments arrive in it: methods, models, things opened once."""

import asyncio
import threading
from contextlib import asynccontextmanager
from typing import Annotated

import pytest
from pydantic import BaseModel, Field

from mcpserve import ToolContext, hookimpl, prompt, resource, tool
from mcpserve.testing import PluginError, load_plugin


class Counter:
    """A plugin with state: its tools are methods."""

    def __init__(self, start=0):
        self.count = start

    @tool(title="Add")
    def add(self, by: Annotated[int, Field(description="How many")] = 1) -> int:
        """Add to the count."""
        self.count += by
        return self.count

    @tool
    async def tell(self, ctx: ToolContext) -> str:
        """Tell the count."""
        await ctx.progress(1)
        return f"{self.count} for {ctx.principal.subject}"

    def reset(self) -> int:
        """Start anew."""
        self.count = 0
        return self.count

    @resource("counter://{unit}")
    def read(self, unit: str) -> str:
        """Read the count."""
        return f"{self.count} {unit}"

    @read.completes("unit")
    async def units(self, value, others):
        """Say how a unit goes on."""
        return [value + "p" * self.count]

    @prompt
    def ask(self, style: str = "short") -> str:
        """Ask about the count."""
        return f"{style}: why {self.count}?"

    @ask.completes("style")
    def styles(value, others):
        """Say how a style goes on."""
        return [value + "t"]

    @hookimpl
    def mcpserve_tools(self):
        """See the hook."""
        return [self.add, self.tell, self.reset]

    @hookimpl
    def mcpserve_resources(self):
        """See the hook."""
        return [self.read]

    @hookimpl
    def mcpserve_prompts(self):
        """See the hook."""
        return [self.ask]


async def test_methods_are_tools_whose_self_is_no_argument():
    async with load_plugin(Counter(40)) as counter:
        properties = {
            bound.offer.name: list(bound.offer.input_schema["properties"])
            for bound in counter.tools
        }
        assert properties == {"add": ["by"], "tell": [], "reset": []}
        assert (await counter.call("add", by=2)).structured_content == {"result": 42}
        told = await counter.call("tell")
        assert told.structured_content == {"result": "42 for test-user"}
        assert (await counter.call("reset")).structured_content == {"result": 0}
        refused = await counter.call("add", self="me")
    assert refused.content[0].text == "add: self: no such argument (arguments: by)"
    assert counter.tools.get("add").offer.title == "Add"


async def test_resources_and_prompts_may_be_methods_too():
    async with load_plugin(Counter(3)) as counter:
        assert (await counter.read("counter://sheep")).contents[0].text == "3 sheep"
        asked = await counter.get_prompt("ask", style="kind")
        assert await counter.complete("counter://{unit}", "unit", "shee") == ["sheeppp"]
        assert await counter.complete("ask", "style", "shor") == ["short"]
    assert asked.messages[0].content.text == "kind: why 3?"


async def test_each_object_has_its_own_state():
    one, other = Counter(), Counter()
    async with load_plugin(one) as first, load_plugin(other) as second:
        await first.call("add", by=5)
        assert (await second.call("add")).structured_content == {"result": 1}


async def test_a_method_of_no_object_is_refused():
    class Unbound:
        @hookimpl
        def mcpserve_tools(self):
            return [Counter.add]

    with pytest.raises(PluginError, match="tool 'add' is a method: hand it over from an object"):
        async with load_plugin(Unbound()):
            pass


class Address(BaseModel):
    """Where."""

    city: str = Field(description="As people there call it")
    country: Annotated[str, Field(pattern="^[A-Z]{2}$")] = "NO"


class Guest(BaseModel):
    """Who."""

    name: str
    addresses: list[Address] = []


class Invitation(BaseModel):
    """An answer."""

    guests: list[Guest]
    cities: dict[str, int]


def plugin(*functions):
    """Return a plugin that hands over these."""

    class Made:
        @hookimpl
        def mcpserve_tools(self):
            return functions

    return Made()


async def invite(
    guests: Annotated[list[Guest], Field(description="Everybody", min_length=1)],
    host: Guest | None = None,
) -> Invitation:
    """Invite."""
    everybody = [*guests, host] if host else guests
    assert all(isinstance(guest, Guest) for guest in everybody)
    cities = [address.city for guest in everybody for address in guest.addresses]
    return Invitation(guests=everybody, cities={city: cities.count(city) for city in cities})


async def test_models_arrive_as_models_and_leave_as_their_fields():
    oslo = {"city": "Oslo"}
    async with load_plugin(plugin(invite)) as loaded:
        result = await loaded.call(
            "invite",
            guests=[{"name": "Ada", "addresses": [oslo, oslo]}],
            host={"name": "Grace"},
        )
    assert result.structured_content["cities"] == {"Oslo": 2}
    assert result.structured_content["guests"] == [
        {"name": "Ada", "addresses": [{"city": "Oslo", "country": "NO"}] * 2},
        {"name": "Grace", "addresses": []},
    ]


async def test_every_description_reaches_the_schema():
    async with load_plugin(plugin(invite)) as loaded:
        schema = loaded.tools.get("invite").offer.definition.input_schema
    assert schema["properties"]["guests"]["description"] == "Everybody"
    city = schema["$defs"]["Address"]["properties"]["city"]
    assert city["description"] == "As people there call it"
    assert schema["$defs"]["Guest"]["description"] == "Who."
    assert schema["required"] == ["guests"]


async def test_what_is_wrong_deep_in_a_model_is_told_by_its_path():
    wrong = [{"name": "Ada", "addresses": [{"city": "Oslo", "country": "Norway"}]}]
    async with load_plugin(plugin(invite)) as loaded:
        result = await loaded.call("invite", guests=wrong)
    assert result.is_error
    assert "guests.0.addresses.0.country: String should match" in result.content[0].text


async def test_what_is_opened_once_serves_every_call_and_is_closed_at_the_end():
    events = []

    @asynccontextmanager
    async def connection():
        events.append("opened")
        yield "a connection"
        events.append("closed")

    class Opens:
        @hookimpl
        async def mcpserve_tools(self, exit_stack):
            shared = await exit_stack.enter_async_context(connection())

            async def use() -> str:
                """Use it."""
                events.append("used")
                return shared

            return [use]

    async with load_plugin(Opens()) as loaded:
        await asyncio.gather(loaded.call("use"), loaded.call("use"))
        assert events == ["opened", "used", "used"]
    assert events[-1] == "closed"


async def test_a_plain_function_runs_in_a_thread_and_a_coroutine_on_the_loop():
    def plain() -> str:
        """Run."""
        return threading.current_thread().name

    async def coroutine() -> str:
        """Run."""
        return threading.current_thread().name

    async with load_plugin(plugin(plain, coroutine)) as loaded:
        ran = [(await loaded.call(name)).structured_content for name in ("plain", "coroutine")]
    assert [name["result"] == "MainThread" for name in ran] == [False, True]
