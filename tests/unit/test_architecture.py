"""Rules that the import contracts cannot say."""

import ast
from pathlib import Path

import pytest

import mcpserve
from mcpserve.web import authorization
from mcpserve.web.base import BaseHandler
from mcpserve.web.mcp import McpMessage
from mcpserve.web.message import Message

PACKAGE = Path(mcpserve.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

FORBIDDEN_CALLS = {
    "get_argument",
    "get_arguments",
    "get_body_argument",
    "get_query_argument",
    "get_body_arguments",
    "get_query_arguments",
    "print",
    "eval",
    "exec",
}
SQL_METHODS = {"row", "one", "rows", "execute", "lookup"}
SQL_MODULES = {"audit.py", "db.py", "migrate.py", "ratelimit.py"}


def calls(module):
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            function = node.func
            name = getattr(function, "attr", None) or getattr(function, "id", None)
            yield name, function, node.lineno


def name_of(module):
    return str(module.relative_to(PACKAGE))


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_traps_of_the_stack_are_not_called(module):
    found = [(name, line) for name, _, line in calls(module) if name in FORBIDDEN_CALLS]
    assert found == []


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_sql_is_written_in_the_store_only(module):
    if module.name in SQL_MODULES or module.parent.name == "store":
        return
    found = [
        (name, line)
        for name, function, line in calls(module)
        if name in SQL_METHODS
        and isinstance(function, ast.Attribute)
        and getattr(function.value, "id", getattr(function.value, "attr", "")) in {"db", "tx"}
    ]
    assert found == []


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_no_statement_depends_on_assertions(module):
    tree = ast.parse(module.read_text(encoding="utf-8"))
    assert not [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Assert)]


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_the_environment_is_read_in_one_place(module):
    others = {"operator.py", "postgres_binaries.py", "environment.py", "pip_runner.py"}
    if module.name in {"config.py", *others} or module.parts[-2:] == ("processes", "plan.py"):
        return
    tree = ast.parse(module.read_text(encoding="utf-8"))
    attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    assert not [node.lineno for node in attributes if node.attr in {"environ", "getenv"}]


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_every_module_says_what_it_is_for(module):
    assert ast.get_docstring(ast.parse(module.read_text(encoding="utf-8")))


def all_handlers(base=BaseHandler):
    for handler in base.__subclasses__():
        yield handler
        yield from all_handlers(handler)


def test_every_handler_declares_how_its_callers_are_authenticated():
    handlers = [*all_handlers(), *all_handlers(Message)]
    assert McpMessage in handlers
    assert authorization.LoginHandler in handlers
    assert [handler for handler in handlers if not hasattr(handler, "authentication")] == []
