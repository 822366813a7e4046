"""The database goes away while ``/mcp`` serves a request that has been let in already."""

import pytest
from mcp_client import McpClient, events
from postgres_proxy import proxy
from pydantic import BaseModel
from serving import serving

from mcpserve import ToolContext, hookimpl, prompt, resource, tool

CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
ANSWERS = {"1": {"action": "accept", "content": {"count": 3}}}
METHODS = {
    "tools/call": {"name": "ask", "arguments": {}},
    "resources/read": {"uri": "ask://resource"},
    "prompts/get": {"name": "ask_first", "arguments": {}},
}


class Amount(BaseModel):
    """What is asked for."""

    count: int


class Asking:
    """A plugin that asks before each answer, and sees the database go if it should."""

    def __init__(self, network):
        self.network = network
        self.stops = False

    async def ask(self, context):
        """Ask how many."""
        await context.progress(1)
        if self.stops:
            await self.network.stop()
        return f"{(await context.elicit('How many?', Amount)).data.count}"

    @hookimpl
    def mcpserve_tools(self):
        """See the hook."""

        @tool
        async def ask(ctx: ToolContext) -> str:
            """Ask."""
            return await self.ask(ctx)

        return [ask]

    @hookimpl
    def mcpserve_resources(self):
        """See the hook."""

        @resource("ask://resource")
        async def asked(ctx: ToolContext) -> str:
            """Ask."""
            return await self.ask(ctx)

        return [asked]

    @hookimpl
    def mcpserve_prompts(self):
        """See the hook."""

        @prompt
        async def ask_first(ctx: ToolContext) -> str:
            """Ask."""
            return await self.ask(ctx)

        return [ask_first]


def asking(client, method, progress_token=None, **params):
    """Return a request of a client that can be asked."""
    message = client.message(method, METHODS[method] | params, progress_token)
    message["params"]["_meta"] |= {CAPABILITIES: {"elicitation": {}}}
    return message


def check_unavailable(answer):
    """Like everywhere else: no error of the protocol, but HTTP's word for coming back later."""
    assert (answer.status_code, answer.json()["error"]) == (503, "temporarily_unavailable")
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.headers["Content-Type"].startswith("application/json")
    assert "WWW-Authenticate" not in answer.headers


def told(caplog):
    """Return what the server logged, which must be no mistake."""
    records = [record for record in caplog.records if record.name.startswith("mcpserve")]
    assert not any(record.exc_info for record in records)
    return "".join(record.getMessage() for record in records)


@pytest.mark.proves("TR-14")
@pytest.mark.parametrize("method", METHODS)
async def test_what_cannot_be_sealed_or_opened_now_can_be_later(dsn, method, caplog):
    async with proxy(dsn) as network:
        plugin = Asking(network)
        async with serving(network.dsn, made={"asking": plugin}) as server:
            client = await McpClient.authorized(server)
            plugin.stops = True
            check_unavailable(await client.post(asking(client, method)))
            plugin.stops = False
            await network.start()
            asked = (await client.post(asking(client, method))).json()["result"]
            state = asked["requestState"]
            again = asking(client, method, requestState=state, inputResponses=ANSWERS)
            network.cut_before = b"FROM server_keys"
            check_unavailable(await client.post(again))
            assert network.cut_before is None
            assert (await client.post(again)).json()["result"]["resultType"] == "complete"
    assert told(caplog)


@pytest.mark.proves("TR-14")
async def test_a_stream_that_has_begun_ends_with_an_error_and_no_more_than_that(dsn, caplog):
    async with proxy(dsn) as network:
        plugin = Asking(network)
        async with serving(network.dsn, made={"asking": plugin}) as server:
            client = await McpClient.authorized(server)
            plugin.stops = True
            answer = await client.post(asking(client, "tools/call", progress_token=7))
            await network.start()
    assert answer.status_code == 200
    progress, last = events(answer)
    assert progress["method"] == "notifications/progress"
    assert last == {"jsonrpc": "2.0", "id": 1, "error": last["error"]}
    assert last["error"] == {"code": -32603, "message": "Try again soon"}
    assert "cannot connect to database" in told(caplog)
