"""Loading one plugin: whatever it does, there is a reason in one line, and nobody waits for it."""

import asyncio
import logging
import logging.config
import re
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import AsyncExitStack
from types import ModuleType

import pytest
from exchanges import CALLER
from pydantic import BaseModel, model_validator

from mcpserve import ToolContext, hookimpl, lag, lives, loading, log, plugins, tool
from mcpserve.errors import PluginError
from mcpserve.settings import PluginSettings


class Unheard(BaseException):
    """No Exception."""


@tool
async def quick() -> str:
    """Answer."""
    return "here"


def plugin(**hooks):
    """Return a plugin with these hooks."""
    made = ModuleType("made")
    vars(made).update({name: hookimpl(function) for name, function in hooks.items()})
    return made


def importing(function):
    """Return a plugin whose import calls this."""

    def find():
        function()
        return plugin()

    return find


def found(made):
    """Return what ``find`` returns for this plugin, or what it is imported by."""
    return made if isinstance(made, ModuleType) else made()


GOOD = plugin(mcpserve_tools=lambda: [quick])


async def load(made, exit_stack=None, **settings):
    """Load a good plugin and this one."""
    chosen = {"good": PluginSettings(), "bad": PluginSettings.model_validate(settings)}
    given = {"good": GOOD, "bad": made}
    return await plugins.load(
        chosen, exit_stack or AsyncExitStack(), lambda name: found(given[name])
    )


async def refusal(made, **settings):
    """Return why a plugin is refused, after the good one was loaded without it."""
    async with AsyncExitStack() as exit_stack:
        skipping = await load(made, exit_stack, on_error="skip", **settings)
        assert (await skipping.registry.tools.call("quick", {}, ToolContext(CALLER))).content
        assert skipping.names == ("good",)
        with pytest.raises(PluginError) as caught:
            await load(made, exit_stack, **settings)
    text = str(caught.value)
    assert "\n" not in text
    assert skipping.skipped == {"bad": text}
    return text


def raising(error):
    """Return a function that raises this."""

    def fail():
        raise error

    return fail


def raising_later(error):
    """Return an async function that raises this."""

    async def fail():
        await asyncio.sleep(0)
        raise error

    return fail


def handing_over(error):
    """Return a hook whose tools cannot be listed."""

    def hand_over():
        yield quick
        raise error

    return hand_over


def refusing(error):
    """Return a model whose validation raises."""

    class Config(BaseModel):
        @model_validator(mode="before")
        @classmethod
        def _fail(cls, _):
            raise error

    return lambda: Config


PLACES = {
    "import": lambda error: importing(raising(error)),
    "config": lambda error: plugin(mcpserve_config=raising(error)),
    "model": lambda error: plugin(mcpserve_config=refusing(error)),
    "hook": lambda error: plugin(mcpserve_tools=raising(error)),
    "async hook": lambda error: plugin(mcpserve_tools=raising_later(error)),
    "generator": lambda error: plugin(mcpserve_tools=handing_over(error)),
    "another hook": lambda error: plugin(mcpserve_prompts=raising_later(error)),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "error",
    [SystemExit(3), KeyboardInterrupt(), Unheard("boo"), asyncio.CancelledError()],
    ids=repr,
)
async def test_whatever_a_plugin_raises_is_its_own_failure(place, error):
    text = await refusal(PLACES[place](error))
    assert text.startswith("plugins.bad: ")
    assert type(error).__name__ in text


async def test_an_exit_in_the_clean_up_of_a_plugin_that_fails_is_its_own_failure():
    def fail(exit_stack):
        exit_stack.callback(raising(SystemExit(3)))
        raise KeyError

    assert await refusal(plugin(mcpserve_tools=fail)) == "plugins.bad: SystemExit: 3"


async def test_a_plugin_that_cancels_itself_is_its_own_failure():
    async def cancel():
        asyncio.current_task().cancel()
        await asyncio.sleep(1)

    assert "CancelledError" in await refusal(plugin(mcpserve_tools=cancel))


async def test_the_cancellation_of_loading_is_not_the_plugins_failure():
    begun, closed = asyncio.Event(), []

    async def hang(exit_stack):
        exit_stack.callback(closed.append, True)
        begun.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(load(plugin(mcpserve_tools=hang), on_error="skip"))
    await begun.wait()
    task.cancel()
    await asyncio.wait([task], timeout=5)
    assert task.cancelled()
    assert closed == [True]


def block(seconds=1.0):
    """Block a thread for longer than anybody waits."""
    threading.Event().wait(seconds)


def block_while_listed():
    """Yield no tool for a long time."""
    block()
    yield quick


async def wait():
    """Wait for what never comes."""
    await asyncio.Event().wait()


async def swallow():
    """Do not let anybody end this."""
    over = asyncio.get_running_loop().time() + 1
    while (left := over - asyncio.get_running_loop().time()) > 0:
        try:
            await asyncio.sleep(left)
        except asyncio.CancelledError:
            continue


HANGING = {
    "import": (importing(block), "import", "block"),
    "config": (plugin(mcpserve_config=block), "mcpserve_config", "block"),
    "hook": (plugin(mcpserve_tools=block), "mcpserve_tools", "block"),
    "generator": (plugin(mcpserve_prompts=block_while_listed), "mcpserve_prompts", "block"),
    "async hook": (plugin(mcpserve_resources=wait), "mcpserve_resources", "wait"),
    "stubborn hook": (plugin(mcpserve_tools=swallow), "mcpserve_tools", "swallow"),
}


@pytest.mark.parametrize("place", HANGING)
async def test_a_plugin_that_hangs_is_refused_with_the_line_where_it_hangs(place, monkeypatch):
    monkeypatch.setattr(lives, "PATIENCE", 0.05)
    made, doing, function = HANGING[place]
    async with asyncio.timeout(5):
        text = await refusal(made, load_timeout="0.3s")
    start, _, where = text.partition(", it is at ")
    assert start == f"plugins.bad: {doing} took longer than 0.3 s"
    assert where.startswith(f"{__file__}:")
    assert f" ({function})" in where


async def test_what_is_handed_over_too_late_is_closed():
    closed = asyncio.Event()

    async def hand_over(exit_stack):
        exit_stack.callback(closed.set)
        await swallow()
        return []

    loaded = await load(plugin(mcpserve_tools=hand_over), on_error="skip", load_timeout="0.1s")
    assert list(loaded.skipped) == ["bad"]
    async with asyncio.timeout(5):
        await closed.wait()


@pytest.mark.parametrize("place", ["import", "config", "hook", "generator"])
async def test_plain_code_of_a_plugin_that_takes_long_blocks_nothing(place):
    gaps = []

    async def turn():
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.005)
            gaps.append(time.monotonic() - before)

    turning = asyncio.create_task(turn())
    await load(HANGING[place][0], on_error="skip")
    turning.cancel()
    assert sum(gaps) > 0.9
    assert max(gaps) < 0.5


async def test_what_takes_long_is_told(monkeypatch, caplog):
    # No other step takes as long, even here and now.
    monkeypatch.setattr(loading, "SLOW", 0.3)
    await load(importing(lambda: block(0.4)))
    (told,) = caplog.messages
    assert re.fullmatch(r"plugins\.bad: import took \d\.\d s", told)


BLOCKS = """
    import asyncio, time
    from contextlib import AsyncExitStack
    from types import ModuleType
    from mcpserve import hookimpl, plugins
    from mcpserve.settings import PluginSettings

    async def mcpserve_tools():
        time.sleep(60)

    async def main():
        made = ModuleType("made")
        made.mcpserve_tools = hookimpl(mcpserve_tools)
        chosen = {"bad": PluginSettings(load_timeout="0.1s", on_error="skip")}
        await plugins.load(chosen, AsyncExitStack(), lambda _: made)

    asyncio.run(main())
"""


def test_a_hook_that_blocks_the_event_loop_ends_the_start_with_its_line():
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(BLOCKS)],
        timeout=30,
        check=False,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 2
    assert ended.stderr == (
        "plugins.bad: mcpserve_tools took longer than 0.1 s, it is at <string>:9 (mcpserve_tools)\n"
    )


async def test_a_hook_that_blocks_the_event_loop_of_a_server_is_told_and_ends_nothing(
    monkeypatch, caplog
):
    monkeypatch.setattr(lag, "BLOCKED", 0.05)
    loading.serves.set(True)

    async def hand_over():
        block(0.4)
        return []

    await load(plugin(mcpserve_tools=hand_over), on_error="skip", load_timeout="0.1s")
    told = "plugins.bad: mcpserve_tools took longer than 0.1 s, it is at "
    (record,) = [record for record in caplog.records if record.levelno == logging.CRITICAL]
    assert record.getMessage().startswith(told)
    assert "(hand_over)" in record.getMessage()


async def test_clean_up_that_hangs_exits_or_cannot_be_stopped_keeps_nobody_from_theirs(
    caplog, monkeypatch
):
    monkeypatch.setattr(loading, "CLOSE_TIMEOUT", 0.5)
    monkeypatch.setattr(lives, "PATIENCE", 0.05)
    closed = []
    hanging = {f"hanging {number}": wait for number in range(5)}
    failures = hanging | {
        "exiting": raising_later(SystemExit(3)),
        "unheard": raising_later(Unheard()),
        "stubborn": swallow,
        "good": asyncio.Event().is_set,
    }

    def hand_over(name, clean_up):
        def mcpserve_tools(exit_stack):
            exit_stack.callback(closed.append, name)
            if name == "good":
                exit_stack.callback(clean_up)
            else:
                exit_stack.push_async_callback(clean_up)
            return []

        return plugin(mcpserve_tools=mcpserve_tools)

    made = {name: hand_over(name, clean_up) for name, clean_up in failures.items()}
    async with AsyncExitStack() as exit_stack:
        chosen = dict.fromkeys(made, PluginSettings())
        await plugins.load(chosen, exit_stack, made.__getitem__)
        started = time.monotonic()
    assert time.monotonic() - started < 2  # One after the other would take 2.5.
    assert sorted(closed) == ["exiting", "good", *hanging, "unheard"]
    for name in (*hanging, "exiting", "unheard"):
        assert f"plugin {name} failed while closing" in caplog.text
    assert "plugin stubborn: its clean-up does not end, it is at " in caplog.text
    assert "(swallow)" in caplog.text


async def test_a_plugin_whose_background_work_crashes_is_out_of_order_and_no_other(caplog):
    release = asyncio.Event()

    async def crash():
        await release.wait()
        raise KeyError("gone")

    @tool
    async def slow() -> str:
        """Need what runs in the background."""
        return "here"

    async def hand_over(exit_stack):
        group = await exit_stack.enter_async_context(asyncio.TaskGroup())
        group.create_task(crash())
        return [slow]

    async with AsyncExitStack() as exit_stack:
        loaded = await load(plugin(mcpserve_tools=hand_over), exit_stack)
        tools = loaded.registry.tools
        assert not (await tools.call("slow", {}, ToolContext(CALLER))).is_error
        release.set()
        async with asyncio.timeout(5):
            while not tools.get("slow").containment.tasks.is_lost:
                await asyncio.sleep(0.01)
        refused = await tools.call("slow", {}, ToolContext(CALLER))
        assert refused.content[0].text == "slow is out of order until the plugin is loaded again"
        assert not (await tools.call("quick", {}, ToolContext(CALLER))).is_error
    assert "plugin bad ended by itself" in caplog.text
    assert "gone" in caplog.text
    assert "failed while closing" not in caplog.text


async def test_what_a_plugin_does_to_the_logging_of_the_server_is_undone(caplog):
    handlers, level = list(logging.root.handlers), logging.root.level
    logging.getLogger("of_another_plugin")

    def silence():
        logging.config.dictConfig({"version": 1, "root": {"level": "CRITICAL", "handlers": []}})
        logging.disable()

    await load(importing(silence))
    assert logging.root.handlers == handlers
    assert (logging.root.level, logging.root.manager.disable) == (level, 0)
    assert not logging.getLogger("mcpserve.audit").disabled
    assert not logging.getLogger("mcpserve.loading").disabled
    assert not logging.getLogger("of_another_plugin").disabled
    assert "plugins.bad changed the logging of the server, which was undone" in caplog.text


async def test_what_is_dropped_of_a_plugin_long_after_it_was_given_up_undoes_nothing(caplog):
    async def hanging():
        with log.kept("bad"):
            await asyncio.sleep(60)

    given_up = hanging()
    given_up.send(None)
    logging.getLogger("mcpserve.loading").disabled = True
    try:
        given_up.close()
        assert logging.getLogger("mcpserve.loading").disabled
    finally:
        logging.getLogger("mcpserve.loading").disabled = False
    assert "which was undone" not in caplog.text


async def test_a_coroutine_that_comes_after_its_plugin_was_given_up_is_closed():
    given_up, handed = threading.Event(), []

    async def tools():
        return [quick]

    def late():
        given_up.wait(10)
        handed.append(tools())
        return handed[0]

    text = await refusal_of_one(plugin(mcpserve_tools=late), load_timeout="0.1s")
    assert "took longer" in text
    given_up.set()
    async with asyncio.timeout(5):
        while not handed or handed[0].cr_frame is not None:
            await asyncio.sleep(0.01)


async def refusal_of_one(made, **settings):
    """Return why a plugin is refused that is loaded once."""
    with pytest.raises(PluginError) as caught:
        await load(made, **settings)
    return str(caught.value)


async def test_what_says_nothing_of_itself_is_told_by_its_name():
    def exiting():
        raise KeyboardInterrupt

    assert (await refusal(importing(exiting))) == "plugins.bad: import failed: KeyboardInterrupt"
