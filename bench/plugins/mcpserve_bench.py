"""The smallest tool, one with a large answer, and as many more as the configuration asks for.

None says what it returns, so that answers are text only, as those of the peers.
"""

from collections.abc import Iterable

from pydantic import BaseModel

from mcpserve import Tool, hookimpl, tool


class Config(BaseModel, extra="forbid"):
    """What may stand in config.yaml."""

    more: int = 0


@tool
async def add(a: int, b: int):  # noqa: ANN201
    """Add two numbers."""
    return str(a + b)


@tool
async def megabyte():  # noqa: ANN201
    """Return a text of a million letters."""
    return "x" * 1_000_000


@hookimpl
def mcpserve_config() -> type[Config]:
    """Return the model."""
    return Config


@hookimpl
def mcpserve_tools(config: Config) -> Iterable[Tool]:
    """Return the tools."""
    return [add, megabyte, *(another(number) for number in range(config.more))]


def another(number: int) -> Tool:
    """Return a tool that is only there to be listed."""

    @tool(name=f"tool_{number}")
    async def look_up(city: str, days: int = 3, detailed: bool = False):  # noqa: ANN202
        """Look up what is known of a city for so many days, in detail if that is wanted."""
        return f"{city} {days} {detailed}"

    return look_up
