"""Calls of several rounds against servers that share nothing but a database and its keys."""

import itertools
import json
from contextlib import asynccontextmanager
from typing import Literal
from urllib.parse import urlsplit

import httpx2
import postgres
import pytest
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_client import McpClient, events
from mcp_types import ElicitResult
from pydantic import BaseModel
from serving import Flow, serving

from mcpserve import ToolContext, hookimpl, tool

ISSUER = "http://localhost:3000"
SHARED = {"server": {"public_url": ISSUER}}
KEYS = {"oauth": {"keys": ["mcps_sk_" + "k" * 43]}}


class Cake(BaseModel):
    """What is ordered."""

    pieces: int
    cream: bool = False


class Cream(BaseModel):
    """What goes with it."""

    kind: Literal["sweet", "sour"]


class Bakery:
    """A plugin that asks twice, and says so."""

    @hookimpl
    def mcpserve_tools(self):
        """See the hook."""

        @tool
        async def order(what: str, ctx: ToolContext) -> str:
            """Order something."""
            await ctx.progress(1)
            await ctx.log("notice", "ordering", what=what)
            cake = await ctx.elicit(f"How many pieces of {what}?", Cake)
            if cake.data is None:
                return f"no {what}: {cake.action}"
            if not cake.data.cream:
                return f"{cake.data.pieces} pieces of {what}"
            cream = await ctx.elicit("Which cream?", Cream)
            return f"{cake.data.pieces} pieces of {what}, {cream.data.kind}"

        return [order]


@asynccontextmanager
async def two_servers(dsn, settings=None):
    """Serve one public address from two places."""
    merged = SHARED | (settings or {})
    async with (
        serving(dsn, merged, made={"bakery": Bakery()}) as one,
        serving(dsn, merged, made={"bakery": Bakery()}, with_user=False) as two,
    ):
        yield one, two


class Balancer(httpx2.AsyncHTTPTransport):
    """Takes each request to the next server."""

    def __init__(self, servers):
        super().__init__()
        self._ports = itertools.cycle(urlsplit(server.url).port for server in servers)
        self.served = []

    async def handle_async_request(self, request):
        """Send it there."""
        port = next(self._ports)
        self.served.append((json.loads(request.content)["method"], port))
        request.url = httpx2.URL(f"http://127.0.0.1:{port}/mcp")
        return await super().handle_async_request(request)


class Person:
    """Answers the forms that a client shows, and keeps what was shown."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.shown = []
        self.logs = []

    async def fill_in(self, context, params):
        """Answer the next form."""
        self.shown.append((params.message, sorted(params.requested_schema["properties"])))
        return self.answers.pop(0)

    async def read(self, params):
        """Read a log message."""
        self.logs.append((params.level, params.data))


async def ordered(servers, person, mode="auto", **options):
    """Order with the official client; return what the tool said, and the calls by server."""
    tokens = await Flow(servers[0]).tokens()
    balancer = Balancer(servers)
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    async with httpx2.AsyncClient(headers=headers, transport=balancer) as http:
        transport = streamable_http_client(f"{ISSUER}/mcp", http_client=http)
        client = Client(
            transport,
            mode=mode,
            elicitation_callback=person.fill_in,
            logging_callback=person.read,
            **options,
        )
        async with client:
            result = await client.call_tool("order", {"what": "pie"})
    served = [port for method, port in balancer.served if method == "tools/call"]
    return result.content[0].text, served


@pytest.mark.parametrize("settings", [None, KEYS], ids=["key of the database", "configured key"])
async def test_each_round_may_meet_another_server(dsn, settings):
    person = Person(
        ElicitResult(action="accept", content={"pieces": 3, "cream": True}),
        ElicitResult(action="accept", content={"kind": "sour"}),
    )
    async with two_servers(dsn, settings) as servers:
        said, served = await ordered(servers, person, log_level="info")
    assert said == "3 pieces of pie, sour"
    assert [message for message, _ in person.shown] == ["How many pieces of pie?", "Which cream?"]
    assert person.shown[0][1] == ["cream", "pieces"]
    assert len(served) == 3
    assert served[0] != served[1] != served[2]
    assert person.logs == [("notice", {"message": "ordering", "what": "pie"})] * 3


async def test_a_person_may_refuse_and_nothing_more_is_asked(dsn):
    person = Person(ElicitResult(action="decline"))
    async with two_servers(dsn) as servers:
        assert (await ordered(servers, person))[0] == "no pie: decline"
    assert len(person.shown) == 1
    assert person.logs == []


async def test_a_client_of_the_handshake_era_is_told_that_it_cannot_be_asked(dsn):
    person = Person()
    async with two_servers(dsn) as servers:
        said, _ = await ordered(servers, person, mode="legacy")
    assert said.startswith("this client cannot be asked anything")
    assert person.shown == []
    assert person.logs == [("notice", {"message": "ordering", "what": "pie"})]


async def called(client, capabilities=None, **params):
    """Call the tool and return status and message of the answer, whatever form it has."""
    params = {"name": "order", "arguments": {"what": "pie"}} | params
    message = client.message("tools/call", params)
    declared = {"elicitation": {}} if capabilities is None else capabilities
    message["params"]["_meta"] |= {"io.modelcontextprotocol/clientCapabilities": declared}
    answer = await client.post(message)
    return answer.status_code, answer.json()


async def test_a_state_ends_with_its_key_and_not_with_its_server(dsn):
    answers = {"1": {"action": "accept", "content": {"pieces": 3}}}
    async with two_servers(dsn) as servers:
        client = await McpClient.authorized(servers[0])
        _, message = await called(client)
        state = message["result"]["requestState"]
    async with two_servers(dsn) as servers:
        client = McpClient(servers[1], client.token)
        status, message = await called(client, inputResponses=answers, requestState=state)
        assert status == 200
        assert message["result"]["content"][0]["text"] == "3 pieces of pie"
        postgres.query(dsn, "UPDATE server_keys SET secret = NULL, retired_at = clock_timestamp()")
        status, message = await called(client, inputResponses=answers, requestState=state)
        assert (status, message["error"]["code"]) == (400, -32602)


async def test_a_state_does_not_open_for_somebody_else(dsn):
    async with two_servers(dsn) as servers:
        client = await McpClient.authorized(servers[0])
        _, message = await called(client)
        state = message["result"]["requestState"]
        tokens = await Flow(servers[1]).confidential().tokens()
        other = McpClient(servers[1], tokens["access_token"])
        status, message = await called(other, requestState=state)
        assert (status, message["error"]["code"]) == (400, -32602)


async def test_a_question_and_what_a_client_lacks_are_told_on_a_stream_that_has_begun(dsn):
    async with two_servers(dsn) as servers:
        client = await McpClient.authorized(servers[0])
        params = {"name": "order", "arguments": {"what": "pie"}}
        answers = []
        for capabilities in ({"elicitation": {}}, {}):
            message = client.message("tools/call", params, progress_token=7)
            name = "io.modelcontextprotocol/clientCapabilities"
            message["params"]["_meta"] |= {name: capabilities}
            answer = await client.post(message)
            assert answer.status_code == 200
            progress, last = events(answer)
            assert progress["method"] == "notifications/progress"
            answers.append(last)
    assert answers[0]["result"]["resultType"] == "input_required"
    assert answers[1]["error"]["code"] == -32021


async def test_a_client_that_cannot_show_forms_gets_an_http_error(dsn):
    async with two_servers(dsn) as servers:
        client = await McpClient.authorized(servers[0])
        status, message = await called(client, capabilities={})
    assert (status, message["error"]["code"]) == (400, -32021)
    required = {"elicitation": {"form": {}}}
    assert message["error"]["data"] == {"requiredCapabilities": required}
