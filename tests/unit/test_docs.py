"""The reference pages and the code say the same."""

import inspect
import re
from pathlib import Path

import pytest

import mcpserve
from docs import generate_cli
from mcpserve import errors, testing
from mcpserve.hooks import Hooks
from mcpserve.oauth.metadata import MCP_PATH
from mcpserve.web.mcp import McpMessage
from mcpserve.web.oauth import DocumentHandler
from mcpserve.web.routes import routes

ROOT = Path(__file__).parent.parent.parent
REFERENCE = ROOT / "docs" / "reference"


def page(name):
    return (REFERENCE / name).read_text(encoding="utf-8")


def first_cells(text):
    return re.findall(r"^\| `([^`]+)`", text, flags=re.MULTILINE)


def test_the_command_line_page_is_what_the_commands_say():
    assert page("cli.md") == generate_cli.reference(), "run ./dev docs"


def test_every_hook_is_documented_with_its_exact_arguments():
    hooks = {
        name: [argument for argument in inspect.signature(hook).parameters if argument != "self"]
        for name, hook in vars(Hooks).items()
        if name.startswith("mcpserve_")
    }
    documented = dict(re.findall(r"^### `(mcpserve_\w+)\((.*)\)`$", page("hooks.md"), re.MULTILINE))
    assert documented == {name: ", ".join(arguments) for name, arguments in hooks.items()}


@pytest.mark.parametrize("name", mcpserve.__all__)
def test_every_public_name_is_documented(name):
    assert f"`{name}`" in page("hooks.md")


@pytest.mark.parametrize("name", testing.__all__)
def test_every_name_of_the_testing_kit_is_documented(name):
    assert any(cell.startswith(name) for cell in first_cells(page("hooks.md")))


def oauth_errors(base=errors.OAuthError):
    for error in base.__subclasses__():
        if error.__module__ == "mcpserve.errors":
            yield error
        yield from oauth_errors(error)


def test_every_oauth_error_is_documented_with_its_status():
    documented = dict(re.findall(r"^\| `(\w+)` \| ([\d, ]+) \|", page("errors.md"), re.MULTILINE))
    raised = {error.error: str(error.status) for error in oauth_errors()}
    assert {error: documented.get(error) for error in raised} == raised
    assert set(documented) - set(raised) == {"temporarily_unavailable", "server_error"}


async def test_every_path_is_documented_with_its_methods(dsn):
    from serving import serving

    documented = {
        path: set(methods.split(", "))
        for path, methods in re.findall(r"^\| `(/\S*)` \| ([A-Z, ]+) \|", page("http.md"), re.M)
    }
    async with serving(dsn, {"mcp": {"openai_apps_challenge": "token"}}) as server:
        served = {}
        for spec in routes(server.services):
            methods = set(spec.handler_class.methods()) - {"OPTIONS"}
            served[spec.regex.pattern.removesuffix("$").replace("\\", "")] = methods
            assert issubclass(spec.handler_class, DocumentHandler) == (
                "well-known" in spec.regex.pattern
            )
    served[MCP_PATH] = {*McpMessage.methods} - {"OPTIONS"}
    assert documented == served


async def test_every_table_is_documented_with_its_columns(dsn):
    from mcpserve.db import Database

    sections = re.split(r"^## ", page("storage.md"), flags=re.MULTILINE)[1:]
    documented = {text.split("\n", 1)[0]: first_cells(text) for text in sections}
    async with Database.connect(dsn) as db:
        rows = await db.rows(
            """SELECT table_name, column_name FROM information_schema.columns
               WHERE table_schema = 'public' ORDER BY table_name, ordinal_position"""
        )
    tables = {}
    for row in rows:
        tables.setdefault(row.table_name, []).append(row.column_name)
    assert documented == tables


LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")
PAGES = [
    *ROOT.glob("*.md"),
    *(ROOT / "docs").rglob("*.md"),
    *(ROOT / "plugins").glob("*/README.md"),
]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_between_pages_leads_somewhere(path):
    targets = LINK.findall(path.read_text(encoding="utf-8"))
    assert [target for target in targets if not (path.parent / target).exists()] == []
