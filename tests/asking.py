"""Calling a tool that asks: the questions, and the answers to them."""

from exchanges import META, enveloped, exchange, modern_headers, post, request
from pydantic import BaseModel, Field

from mcpserve import ToolContext

FORM = {"elicitation": {}}
EVERYTHING = {"elicitation": {"form": {}, "url": {}}, "sampling": {"tools": {}}, "roots": {}}
ROOT = {"uri": "file:///a"}


class Amount(BaseModel):
    """A form."""

    count: int = Field(ge=1)


class Name(BaseModel):
    """Another form."""

    name: str


def accept(**content):
    """Return what a person sends who fills a form in."""
    return {"action": "accept", "content": content}


async def call(server, answers=None, state=None, *, capabilities=FORM, **changes):
    """Call the server's tool ``ask``, with answers if there are any."""
    params = {"name": "ask", "arguments": {"thing": "cake"}} | changes.pop("params", {})
    if answers is not None:
        params["inputResponses"] = answers
    if state is not None:
        params["requestState"] = state
    params["_meta"] = {f"{META}clientCapabilities": capabilities}
    headers = modern_headers("tools/call", params["name"])
    return await post(server, request("tools/call", enveloped(params)), headers, **changes)


async def asked(server, answers=None, state=None, **changes):
    """Call it and return what it asks: keys with texts, and the state."""
    result = (await call(server, answers, state, **changes)).result
    assert result["resultType"] == "input_required"
    texts = {
        key: question.get("params", {}).get("message", question["method"])
        for key, question in result["inputRequests"].items()
    }
    return texts, result["requestState"]


async def told(server, answers=None, state=None, **changes):
    """Call it and return the text of its complete result."""
    result = (await call(server, answers, state, **changes)).result
    assert result["resultType"] == "complete"
    return result["content"][0]["text"]


def one_question(**options):
    """Return an endpoint whose tool asks one question."""

    async def ask(thing: str, ctx: ToolContext) -> str:
        """Ask."""
        answer = await ctx.elicit(f"How many of {thing}?", Amount, **options)
        return f"{answer.action} {answer.data and answer.data.count}"

    return exchange(ask)
