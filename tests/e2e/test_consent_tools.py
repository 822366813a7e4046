"""The consent page names the tools behind each scope, and what they may do."""

import re
from types import ModuleType

from serving import Flow, serving

from mcpserve import ToolAnnotations, hookimpl, tool

HINTS = {
    "look": ToolAnnotations(read_only_hint=True, title="Look <b>&"),
    "add": ToolAnnotations(read_only_hint=False, destructive_hint=False),
    "wipe": None,
}
SETTINGS = {
    "oauth": {
        "scopes": {"notes.admin": "Do all", "notes.none": "Do nothing"},
        "scope_implies": {"notes.admin": ["notes.wipe", "mcp.tools.call"]},
    }
}


READ_ONLY = ToolAnnotations(read_only_hint=True)


def notes(count=0, hints=READ_ONLY):
    """Return a plugin with a tool of each kind, and more of one."""
    made = [
        tool(name=name, annotations=hint, scopes=["notes.wipe"] if name == "wipe" else [])(
            lambda: ""
        )
        for name, hint in HINTS.items()
    ]
    more = [tool(name=f"more{at}", annotations=hints)(lambda: "") for at in range(count)]
    plugin = ModuleType("notes")
    plugin.mcpserve_tools = hookimpl(lambda: [*made, *more])
    return {"notes": plugin}


async def shown(server, scope):
    """Return the page, and by scope the tools below it with their badges."""
    async with server.browser() as browser:
        page = (await Flow(server).ask(browser, scope=scope)).text
    parts = re.split(r'<code class="soft">(.*?)</code>', page.split("<dl>")[0])[1:]
    badge = r'checked> <span>(.*?) <span class="badge (.*?)">\2</span></span></label></li>'
    return page, {
        name: dict(re.findall(badge, below))
        for name, below in zip(parts[::2], parts[1::2], strict=True)
    }


CALL = {"Look &lt;b&gt;&amp;": "read-only", "add": "writes"}


async def test_each_tool_stands_below_the_scope_that_opens_it(dsn):
    async with serving(dsn, SETTINGS, made=notes()) as server:
        everything = "mcp.tools.call notes.wipe notes.none offline_access"
        page, below = await shown(server, everything)
        assert below == {
            "mcp.tools.call": CALL,
            "notes.wipe": {"wipe": "destructive"},
            "notes.none": {},
            "offline_access": {},
        }
        assert page.count("<details") == 2
        assert "<script" not in page
        _, below = await shown(server, "mcp.tools.call")
        assert below == {"mcp.tools.call": CALL}


async def test_a_tool_that_could_not_be_called_is_not_shown(dsn):
    async with serving(dsn, SETTINGS, made=notes()) as server:
        _, below = await shown(server, "notes.wipe")
        assert below == {"notes.wipe": {}}


async def test_a_scope_shows_what_it_includes(dsn):
    async with serving(dsn, SETTINGS, made=notes()) as server:
        _, below = await shown(server, "notes.admin")
        assert below == {"notes.admin": CALL | {"wipe": "destructive"}}


async def test_a_tool_behind_two_scopes_has_one_box(dsn):
    async with serving(dsn, SETTINGS, made=notes()) as server:
        page, below = await shown(server, "mcp.tools.call notes.admin")
        assert below == {"mcp.tools.call": CALL, "notes.admin": {"wipe": "destructive"}}
        assert page.count('type="checkbox"') == 3
        assert page.count("see above") == 2
        assert "<summary>3 tools, 1 destructive</summary>" in page


async def test_many_tools_are_folded_unless_one_destroys(dsn):
    async with serving(dsn, SETTINGS, made=notes(4)) as server:
        page, below = await shown(server, "mcp.tools.call")
        assert len(below["mcp.tools.call"]) == 6
        assert "<details open>\n<summary>6 tools</summary>" in page
    async with serving(dsn, SETTINGS, made=notes(5), with_user=False) as server:
        page, below = await shown(server, "mcp.tools.call")
        assert len(below["mcp.tools.call"]) == 7
        assert "<details>\n<summary>7 tools</summary>" in page
    made = notes(5, hints=None)
    async with serving(dsn, SETTINGS, made=made, with_user=False) as server:
        page, _ = await shown(server, "mcp.tools.call")
        assert "<details open>\n<summary>7 tools, 5 destructive</summary>" in page
