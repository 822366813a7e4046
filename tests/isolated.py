"""A plugin that only a worker can find: a module, and the metadata of an installed package."""

from pathlib import Path
from textwrap import dedent

PLUGIN = '''
"""Everything that a plugin can do, and everything that it should not do."""

import asyncio, ctypes, os, subprocess, sys, threading, time
from collections.abc import Mapping
from pydantic import BaseModel
from mcpserve import *


class Config(BaseModel):
    greeting: str = "hello"


class Amount(BaseModel):
    count: int


@hookimpl
def mcpserve_config():
    return Config


@hookimpl
def mcpserve_tools(config, exit_stack):
    exit_stack.callback(print, "closed", file=sys.stderr, flush=True)

    @tool(scopes=["more"], title="Greet", annotations=ToolAnnotations(read_only_hint=True))
    async def greet(name: str, ctx: ToolContext) -> dict[str, str]:
        """Greet."""
        print("this is no answer")
        await ctx.log("info", "greeting", name=name)
        await ctx.progress(1, 2, "half")
        user = await ctx.user()
        return {"text": f"{config.greeting} {name}", "user": user.name if user else "",
                "client": ctx.principal.client_id, "locale": ctx.locale or ""}

    async def ask(ctx: ToolContext) -> str:
        """Ask."""
        answer = await ctx.elicit("How many?", Amount)
        return f"{answer.action} {answer.data.count}"

    def refuse() -> str:
        """Refuse."""
        raise ToolError("not today")

    def crash() -> str:
        """Crash."""
        raise KeyError("detail")

    async def block() -> str:
        """Block the loop."""
        print("blocked", flush=True)
        time.sleep(60)

    def freeze() -> str:
        """Let no other code of Python run."""
        print("blocked", flush=True)
        ctypes.PyDLL(None).sleep(60)

    async def wait() -> str:
        """Wait."""
        await asyncio.sleep(60)

    def stuck() -> str:
        """Block a thread."""
        time.sleep(60)

    def leave() -> str:
        """End the process."""
        os._exit(3)

    def start() -> str:
        """Start a process that stays."""
        subprocess.Popen(["sleep", "60"])
        return "started"

    def leave_others(path: str) -> str:
        """Leave a fork and another process, which have the file open, and end the process."""
        held = os.open(path, os.O_WRONLY)
        subprocess.Popen(["sleep", "60"], pass_fds=[held])
        if os.fork() == 0:
            time.sleep(60)
        os._exit(3)

    def number(digits: int) -> int:
        """Return a large number."""
        return 10**digits

    def hog() -> str:
        """Take all memory."""
        taken = []
        while True:
            taken.append(bytearray(50_000_000))

    def process() -> int:
        """Tell the process."""
        return os.getpid()

    def environment() -> dict[str, str]:
        """Tell the environment."""
        return dict(os.environ)

    def large(size: int) -> str:
        """Return much."""
        return "x" * size

    async def tell(kind: str, size: int, ctx: ToolContext) -> str:
        """Tell the client much."""
        text = "x" * size
        if kind == "progress":
            await ctx.progress(1, 2, text)
        elif kind == "log":
            await ctx.log("info", text, more=[text])
        elif kind == "question":
            await ctx.elicit(text, Amount)
        else:
            raise ToolError(text)
        return "told"

    async def cancel() -> str:
        """Cancel what belongs to others."""
        for task in asyncio.all_tasks():
            task.cancel()
        await asyncio.sleep(60)

    return [greet, ask, refuse, crash, block, wait, stuck, leave, hog, process, environment, large,
            tell, cancel, start, leave_others, number, freeze]


@hookimpl
def mcpserve_resources():
    @resource("notes://{name}", mime_type="text/markdown")
    async def note(name: str) -> str:
        """A note."""
        if name == "none":
            raise ResourceNotFound("no such note")
        return f"# {name}"

    @note.completes("name")
    def names(value: str, others: Mapping[str, str]) -> list[str]:
        if value == "many":
            return ["x" * 1_000_000] * 10
        return [name for name in ("one", "other") if name.startswith(value)]

    return [note]


@hookimpl
def mcpserve_prompts():
    def review(code: str) -> str:
        """Review."""
        return f"Review {code}"

    return [review]


@hookimpl
def mcpserve_tool_called(call):
    print("seen", call.tool, call.outcome, file=sys.stderr, flush=True)
'''


def install(folder: Path, monkeypatch, source: str = PLUGIN) -> None:
    """Install the plugin ``apart`` for this test."""
    (folder / "apart.py").write_text(dedent(source))
    about = folder / "apart-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: apart\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[mcpserve]\napart = apart\n")
    monkeypatch.syspath_prepend(str(folder))
