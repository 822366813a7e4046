"""How an argument of a prompt or of a URI may go on."""

import asyncio
import threading
from enum import Enum
from typing import Annotated, Literal

import pytest
from exchanges import bound

from mcpserve import prompt, resource
from mcpserve.bound import CallFailed, Outcome
from mcpserve.tools import WrongArguments


class Colour(Enum):
    """Texts, and one that is none."""

    RED = "red"
    ROSE = "rose"
    NUMBER = 5


async def complete(made, argument, value="", /, **others):
    """Complete an argument."""
    return await bound(made).complete(argument, value, others)


@prompt
def paint(
    how: Literal["Fast", "fine", "slow", 3],
    colour: Annotated[Colour | None, "a note"] = None,
    what: str = "",
) -> str:
    """Paint."""
    return ""


@pytest.mark.parametrize(
    ("argument", "value", "values"),
    [
        ("how", "", ["Fast", "fine", "slow"]),
        ("how", "F", ["Fast", "fine"]),
        ("how", "x", []),
        ("colour", "r", ["red", "rose"]),
        ("colour", "RO", ["rose"]),
        ("what", "", []),
    ],
)
async def test_the_choices_of_a_type_complete_by_themselves(argument, value, values):
    assert await complete(paint, argument, value) == values


async def test_the_authors_function_gets_what_was_typed_and_the_other_arguments():
    @resource("test://{country}/{city}")
    def place(country: str, city: str) -> str:
        """Return a place."""
        return city

    @place.completes("city")
    def cities(value, others):
        return (f"{others['country']}-{value}", threading.current_thread().name)

    @place.completes("country")
    async def countries(value, others):
        return [value, *others]

    seen, thread = await complete(place, "city", "Os", country="no")
    assert seen == "no-Os"
    assert thread != threading.main_thread().name
    assert await complete(place, "country", "n") == ["n"]
    assert cities("", {"country": "x"})[0] == "x-"


async def test_the_authors_function_goes_before_the_type():
    @prompt
    def one(how: Literal["a"]) -> str:
        """Take."""
        return how

    one.completes("how")(lambda value, others: ["b"])
    assert await complete(one, "how") == ["b"]


def test_what_can_be_completed_is_known_beforehand():
    plain = prompt(name="plain")(lambda text: "")
    assert paint.is_completed
    assert not plain.is_completed
    plain.completes("text")(lambda value, others: [])
    assert plain.is_completed


async def test_an_argument_that_does_not_exist_is_refused():
    with pytest.raises(WrongArguments, match="paint: size: no such argument"):
        await complete(paint, "size")


def test_a_completion_of_nothing_or_a_second_one_is_refused():
    made = prompt(name="made")(lambda text: "")
    with pytest.raises(ValueError, match="argument 'other' does not exist"):
        made.completes("other")
    made.completes("text")(lambda value, others: [])
    with pytest.raises(ValueError, match="argument 'text' is completed already"):
        made.completes("text")


@pytest.mark.parametrize("values", [None, "text", [1], 5, [None]])
async def test_what_is_no_list_of_texts_is_a_crash(values, caplog):
    made = prompt(name="made")(lambda text: "")
    made.completes("text")(lambda value, others: values)
    with pytest.raises(CallFailed) as caught:
        await complete(made, "text")
    assert caught.value.outcome is Outcome.CRASH
    assert "prompt made of plugin plugin failed" in caplog.text


async def test_a_completion_takes_a_slot_and_must_be_in_time():
    made = prompt(name="made", timeout=0.02)(lambda text: "")

    @made.completes("text")
    async def forever(value, others):
        await asyncio.Event().wait()

    with pytest.raises(CallFailed) as caught:
        await complete(made, "text")
    assert caught.value.outcome is Outcome.TIMEOUT
    full = bound(made, slots=0)
    with pytest.raises(CallFailed, match="did not answer"):
        await full.complete("text", "", {})
