"""Tools that go wrong when they are called, each in its own way."""

import asyncio
import logging
import sys
import time

from pydantic import BaseModel, ConfigDict, SecretStr

from mcpserve import ToolContext, ToolError, hookimpl


class Config(BaseModel):
    model_config = ConfigDict(extra="forbid")

    api_key: SecretStr = SecretStr("")


class Unheard(BaseException):
    """No Exception."""


async def hangs() -> str:
    """Wait for what never comes."""
    await asyncio.Event().wait()
    return ""


def blocks_its_thread() -> str:
    """Work for longer than anybody waits."""
    time.sleep(0.5)
    return ""


async def blocks_the_loop() -> str:
    """Keep everybody waiting."""
    time.sleep(0.15)
    return ""


async def crashes() -> str:
    """Look for what is not there."""
    return {}["city"]


async def refuses() -> str:
    """Refuse as a tool should."""
    raise ToolError("no such city, try adding the country")


async def exits() -> str:
    """Mean the process, as a script would."""
    sys.exit("bye")


def exits_in_a_thread() -> str:
    """Mean the process, as a script would."""
    sys.exit("bye")


async def raises_what_is_no_exception() -> str:
    """Raise what `except Exception` does not catch."""
    raise Unheard("boo")


async def cancels_itself() -> str:
    """Raise what only the server should."""
    raise asyncio.CancelledError


async def returns_something_else() -> int:
    """Return what it did not announce."""
    return "sun"


async def answers_too_much() -> str:
    """Answer more than any client takes."""
    return "x" * 200_000


async def reports_too_often(context: ToolContext) -> str:
    """Report each of very many steps."""
    for step in range(1500):
        await context.progress(step)
    return ""


def tells_its_secret(config):
    async def tells() -> str:
        """Tell what it was configured with."""
        return config.api_key.get_secret_value()

    return tells


def logs_its_secret(config):
    async def logs() -> str:
        """Log the whole request."""
        logging.getLogger("client").info("GET /?key=%s", config.api_key.get_secret_value())
        return ""

    return logs


def tells_its_secret_in_an_error(config):
    async def tells_in_an_error() -> str:
        """Tell what was asked of whom."""
        raise ToolError(f"401 of https://api.test/?key={config.api_key.get_secret_value()}")

    return tells_in_an_error


@hookimpl
def mcpserve_config():
    return Config


@hookimpl
def mcpserve_tools(config):
    return [
        hangs,
        blocks_its_thread,
        blocks_the_loop,
        crashes,
        refuses,
        exits,
        exits_in_a_thread,
        raises_what_is_no_exception,
        cancels_itself,
        returns_something_else,
        answers_too_much,
        reports_too_often,
        tells_its_secret(config),
        logs_its_secret(config),
        tells_its_secret_in_an_error(config),
    ]
