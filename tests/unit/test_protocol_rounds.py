"""Calls that take several rounds: what the client is asked, and which answers count."""

import asyncio

import pytest
from asking import ROOT, Amount, Name, accept, asked, call, one_question, told
from exchanges import exchange

from mcpserve import ToolContext, tool


async def test_a_tool_asks_the_person_and_gets_the_answer_with_the_next_call():
    server = one_question()
    answer = await call(server)
    assert answer.status == 200
    assert answer.result["resultType"] == "input_required"
    assert answer.result["inputRequests"] == {
        "1": {
            "method": "elicitation/create",
            "params": {
                "mode": "form",
                "message": "How many of cake?",
                "requestedSchema": {
                    "type": "object",
                    "properties": {"count": {"type": "integer", "minimum": 1, "title": "Count"}},
                    "required": ["count"],
                },
            },
        }
    }
    assert "ttlMs" not in answer.result
    assert await told(server, {"1": accept(count=3)}, answer.result["requestState"]) == "accept 3"


@pytest.mark.parametrize("action", ["decline", "cancel"])
async def test_a_person_may_refuse(action):
    server = one_question()
    _, state = await asked(server)
    assert await told(server, {"1": {"action": action}}, state) == f"{action} None"


@pytest.mark.parametrize(
    "answers",
    [
        None,
        {},
        {"2": accept(count=3)},
        {"1": accept(count=0)},
        {"1": accept(count="many")},
        {"1": accept()},
        {"1": {"action": "accept"}},
        {"1": {"roots": [ROOT]}},
    ],
)
async def test_what_is_missing_or_no_answer_is_asked_again(answers):
    server = one_question()
    texts, state = await asked(server)
    again, state = await asked(server, answers, state)
    assert again == texts == {"1": "How many of cake?"}
    assert await told(server, {"1": accept(count=3)}, state) == "accept 3"


@pytest.mark.parametrize("answers", [3, [], {"1": 3}, {"1": None}, {"1": {"action": "maybe"}}])
async def test_answers_of_another_shape_are_refused(answers):
    server = one_question()
    _, state = await asked(server)
    assert (await call(server, answers, state)).code == (400, -32602)


async def test_other_answers_beside_it_are_ignored():
    server = one_question()
    _, state = await asked(server)
    answers = {"1": accept(count=3), "2": accept(name="x"), "": {"action": "cancel"}}
    assert await told(server, answers, state) == "accept 3"


async def test_a_question_may_be_answered_before_it_is_asked():
    server = one_question(key="amount")
    answers = {"amount": accept(count=3), "other": accept(name="x")}
    assert await told(server, answers) == "accept 3"
    assert await asked(server, {"1": accept(count=3)}) == ({"amount": "How many of cake?"}, ANY)


class Anything:
    def __eq__(self, other):
        return True

    __hash__ = None


ANY = Anything()


async def two_rounds(thing: str, ctx: ToolContext) -> str:
    """Ask twice."""
    name = await ctx.elicit("Your name?", Name)
    amount = await ctx.elicit(f"How many, {name.data.name}?", Amount)
    return f"{amount.data.count} for {name.data.name}"


async def test_earlier_answers_come_back_with_the_state():
    server = exchange(tool(name="ask")(two_rounds))
    texts, first = await asked(server)
    assert texts == {"1": "Your name?"}
    texts, second = await asked(server, {"1": accept(name="Ada")}, first)
    assert texts == {"2": "How many, Ada?"}
    assert first != second
    assert await told(server, {"2": accept(count=3)}, second) == "3 for Ada"


async def test_an_answer_that_was_given_once_cannot_be_changed_later():
    server = exchange(tool(name="ask")(two_rounds))
    _, state = await asked(server)
    _, state = await asked(server, {"1": accept(name="Ada")}, state)
    answers = {"1": accept(name="Eve"), "2": accept(count=3)}
    assert await told(server, answers, state) == "3 for Ada"


async def test_a_yes_does_not_answer_a_question_that_changed():
    files = ["a"]

    async def ask(thing: str, ctx: ToolContext) -> str:
        """Ask about what is there now."""
        answer = await ctx.elicit(f"Delete {len(files)}?", Amount, key="sure")
        return f"{answer.action} {len(files)}"

    server = exchange(ask)
    _, state = await asked(server)
    files.append("b")
    texts, state = await asked(server, {"sure": accept(count=1)}, state)
    assert texts == {"sure": "Delete 2?"}
    assert await told(server, {"sure": accept(count=1)}, state) == "accept 2"


async def test_a_carried_answer_does_not_answer_a_question_that_changed():
    greeting = ["Your name?"]

    async def ask(thing: str, ctx: ToolContext) -> str:
        """Ask twice."""
        name = await ctx.elicit(greeting[0], Name)
        await ctx.elicit("How many?", Amount)
        return name.data.name

    server = exchange(ask)
    _, state = await asked(server)
    _, state = await asked(server, {"1": accept(name="Ada")}, state)
    greeting[0] = "And yours?"
    texts, state = await asked(server, {"2": accept(count=3)}, state)
    assert texts == {"1": "And yours?"}


async def side_by_side(thing: str, ctx: ToolContext) -> str:
    """Ask for two things in one round."""
    name, amount = await asyncio.gather(
        ctx.elicit("Your name?", Name), ctx.elicit("How many?", Amount)
    )
    return f"{amount.data.count} for {name.data.name}"


async def in_a_group(thing: str, ctx: ToolContext) -> str:
    """Ask for two things in one round."""
    async with asyncio.TaskGroup() as group:
        name = group.create_task(ctx.elicit("Your name?", Name))
        amount = group.create_task(ctx.elicit("How many?", Amount))
    return f"{amount.result().data.count} for {name.result().data.name}"


@pytest.mark.parametrize("function", [side_by_side, in_a_group])
async def test_questions_side_by_side_are_asked_in_one_round(function):
    server = exchange(tool(name="ask")(function))
    texts, state = await asked(server)
    assert texts == {"1": "Your name?", "2": "How many?"}
    texts, state = await asked(server, {"2": accept(count=3)}, state)
    assert texts == {"1": "Your name?"}
    assert await told(server, {"1": accept(name="Ada")}, state) == "3 for Ada"


async def test_a_tool_that_swallows_the_end_of_its_run_asks_all_the_same():
    async def ask(thing: str, ctx: ToolContext) -> str:
        """Hold on to what is none of its business."""
        try:
            return (await ctx.elicit("How many?", Amount)).action
        except BaseException:
            return "three"

    server = exchange(ask)
    _, state = await asked(server)
    assert await told(server, {"1": accept(count=3)}, state) == "accept"


async def test_a_tool_does_not_take_a_question_for_a_failure():
    failures = []

    async def ask(thing: str, ctx: ToolContext) -> str:
        """Handle every failure."""
        try:
            return (await ctx.elicit("How many?", Amount)).action
        except Exception as error:
            failures.append(error)
            raise

    await asked(exchange(ask))
    assert failures == []


async def test_one_key_stands_for_one_question():
    async def ask(thing: str, ctx: ToolContext) -> str:
        """Ask two things under one name."""
        await ctx.elicit("Your name?", Name, key="a")
        return (await ctx.elicit("How many?", Amount, key="a")).action

    server = exchange(ask)
    _, state = await asked(server)
    answer = await call(server, {"a": accept(name="Ada")}, state)
    assert answer.result["isError"]
