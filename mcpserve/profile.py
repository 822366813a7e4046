"""A plugin that comes with the server: which of the person's accounts a connection is for.

ChatGPT asks a tool that says so in ``_meta`` (``openai/profile``), to tell connections apart.
"""

from collections.abc import Iterable
from typing import NotRequired

from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict

from mcpserve.hooks import hookimpl
from mcpserve.tools import Tool, ToolAnnotations, ToolContext, ToolError, tool

READS_ONLY = ToolAnnotations(
    read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
)


@with_config(ConfigDict(extra="forbid"))
class Profile(TypedDict):
    """An account."""

    id: str
    name: NotRequired[str]
    email: NotRequired[str]


@tool(title="Profile", annotations=READS_ONLY, meta={"openai/profile": True})
async def get_profile(context: ToolContext) -> Profile:
    """Tell which account this connection is for: its id, and name and e-mail address if allowed."""
    user = await context.user()
    if user is None:
        raise ToolError("nobody is logged in")
    profile = Profile(id=user.id)
    if user.name is not None:
        profile["name"] = user.name
    # There is no word for an address that nobody vouches for.
    if user.email is not None and user.email_verified:
        profile["email"] = user.email
    return profile


@hookimpl
def mcpserve_tools() -> Iterable[Tool]:
    """Return the one tool."""
    return [get_profile]
