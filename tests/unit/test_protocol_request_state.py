"""The state that goes through the client: good for the same caller and the same call only."""

import pytest
from asking import Amount, accept, asked, call, told
from exchanges import CALLER, exchange

from mcpserve import Principal, ToolContext, tool
from mcpserve.protocol.rounds import binding

INVALID_STATE = {"code": -32602, "message": "Invalid or expired requestState"}
FOREIGN = {
    "another person": {"principal": Principal("client", "other", CALLER.scopes)},
    "another client": {"principal": Principal("other", "user", CALLER.scopes)},
    "other arguments": {"params": {"arguments": {"thing": "pie"}}},
    "fewer arguments": {"params": {"arguments": {}}},
    "another tool": {"params": {"name": "also"}},
}


@pytest.mark.parametrize("changes", FOREIGN.values(), ids=FOREIGN)
async def test_a_state_is_good_for_the_same_caller_and_the_same_call_only(changes):
    runs = []

    async def ask(thing: str, ctx: ToolContext) -> str:
        """Ask."""
        runs.append(thing)
        return (await ctx.elicit("How many?", Amount)).action

    server = exchange(ask, tool(name="also")(ask))
    _, state = await asked(server)
    answer = await call(server, {"1": accept(count=3)}, state, **changes)
    assert answer.code == (400, -32602)
    assert answer.body["error"] == INVALID_STATE
    assert runs == ["cake"]


def test_every_part_of_a_request_is_in_what_its_state_is_bound_to():
    def bound_to(client="c", subject="s", method="m", target="t", arguments=None):
        return binding(Principal(client, subject, frozenset()), method, target, arguments or {})

    others = [
        bound_to(client="x"),
        bound_to(subject="x"),
        bound_to(method="x"),
        bound_to(target="x"),
        bound_to(arguments={"x": 1}),
        bound_to(client='c", "s', subject=""),
        bound_to(method="mt", target=""),
    ]
    assert len({bound_to(), *others}) == 8
    assert bound_to() == bound_to()


async def test_the_order_of_arguments_and_a_new_token_make_no_other_call():
    async def ask(thing: str, ctx: ToolContext, size: int = 1) -> str:
        """Ask."""
        return (await ctx.elicit("How many?", Amount)).action

    server = exchange(ask)
    _, state = await asked(server, params={"arguments": {"thing": "pie", "size": 2}})
    changes = {
        "params": {"arguments": {"size": 2, "thing": "pie"}},
        "principal": Principal("client", "user", CALLER.scopes | {"more"}),
    }
    assert await told(server, {"1": accept(count=3)}, state, **changes) == "accept"


@pytest.mark.parametrize("state", ["", "x", "00" * 40, "{}", "x" * 100_000])
async def test_a_state_that_is_not_ours_is_refused_before_the_tool_runs(state):
    runs = []

    async def ask(thing: str) -> str:
        """Need no answer."""
        runs.append(thing)
        return thing

    answer = await call(exchange(ask), {}, state)
    assert (answer.code, answer.body["error"]) == ((400, -32602), INVALID_STATE)
    assert runs == []
