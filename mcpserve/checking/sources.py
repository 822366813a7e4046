"""Checks of a plugin's source: what it calls on the event loop.

Sees calls by their names only, in the ``async`` function itself and not in what that calls.
"""

import ast
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeGuard

from mcpserve.checking import rules
from mcpserve.checking.findings import Finding
from mcpserve.checking.target import Target, imported

BLOCKING = frozenset(
    {
        "time.sleep",
        "input",
        "os.system",
        "os.popen",
        "os.wait",
        "os.waitpid",
        "select.select",
        "socket.socket",
        "socket.create_connection",
        "socket.getaddrinfo",
        "socket.gethostbyname",
        "sqlite3.connect",
        "psycopg2.connect",
        "psycopg.connect",
        "pymysql.connect",
        "subprocess.call",
        "subprocess.check_call",
        "subprocess.check_output",
        "subprocess.getoutput",
        "subprocess.run",
        "urllib.request.urlopen",
        "urllib.request.urlretrieve",
        *(f"httpx.{name}" for name in ("Client", "delete", "get", "head", "options")),
        *(f"httpx.{name}" for name in ("patch", "post", "put", "request", "stream")),
    }
)
BLOCKING_MODULES = frozenset({"requests", "urllib3", "smtplib", "ftplib", "imaplib", "paramiko"})
FILES = frozenset(
    {"open", "io.open", "shutil.copy", "shutil.copyfile", "shutil.copytree", "shutil.rmtree"}
)
FILE_METHODS = frozenset({"read_text", "read_bytes", "write_text", "write_bytes"})
"""Of ``pathlib``; awaited they belong to a library whose methods have the same names."""
ON_THE_LOOP = frozenset({"mcpserve_tool_called"})
"""A plain function there, and called for each call of a tool."""
REACHING_OUT = frozenset(
    {"asyncio", "ftplib", "http", "imaplib", "multiprocessing", "nntplib", "os", "poplib"}
    | {"smtplib", "socket", "ssl", "subprocess", "telnetlib", "urllib", "xmlrpc"}
)
"""Modules of the standard library through which a plugin may reach the world."""
HARMLESS = frozenset(
    {"mcpserve", "pydantic", "pydantic_core", "typing_extensions", "annotated_types"}
)


def blocking_calls(tree: ast.AST, file: str) -> Iterator[Finding]:
    """Yield what is called on the loop and does not give it back."""
    names = dict(aliases(tree))
    for function in ast.walk(tree):
        if not on_the_loop(function):
            continue
        for call in calls(function):
            name = called(call.func, names)
            method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
            place = f"{file}:{call.lineno}, {function.name}"
            if name in BLOCKING or name.partition(".")[0] in BLOCKING_MODULES:
                yield Finding(rules.BLOCKS, place, f"{name}() blocks the event loop")
            elif name in FILES or method in FILE_METHODS:
                shown = name if name in FILES else f".{method}"
                yield Finding(rules.FILES, place, f"{shown}() works with a file on the event loop")


def on_the_loop(node: ast.AST) -> TypeGuard[ast.AsyncFunctionDef | ast.FunctionDef]:
    """Whether it is a function that runs in the event loop."""
    return isinstance(node, ast.AsyncFunctionDef) or (
        isinstance(node, ast.FunctionDef) and node.name in ON_THE_LOOP
    )


def calls(function: ast.AST) -> Iterator[ast.Call]:
    """Yield the calls of a function's own body: not awaited, not in functions inside of it."""
    for node in ast.iter_child_nodes(function):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            continue
        if isinstance(node, ast.Await) and isinstance(node.value, ast.Call):
            for argument in ast.iter_child_nodes(node.value):
                yield from calls_in(argument)
            continue
        yield from calls_in(node)


def calls_in(node: ast.AST) -> Iterator[ast.Call]:
    """Yield the node, if it is a call, and the calls below it."""
    if isinstance(node, ast.Call):
        yield node
    yield from calls(node)


def aliases(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield the names that imports bind, and what they stand for."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                yield (alias.asname, alias.name) if alias.asname else (top, top)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def called(function: ast.expr, names: Mapping[str, str]) -> str:
    """Return the whole name of what is called; empty for what has none."""
    match function:
        case ast.Name(id=name):
            return names.get(name, name)
        case ast.Attribute(value=value, attr=attribute):
            # A variable that is called like a module is none.
            owner = called(value, names)
            known = owner.partition(".")[0] in {name.partition(".")[0] for name in names.values()}
            return f"{owner}.{attribute}" if known else ""
        case _:
            return ""


def check(target: Target) -> Iterator[Finding]:
    """Look through every file of the plugin."""
    for path in target.files:
        file = shown(path, target)
        try:
            tree = ast.parse(path.read_bytes(), str(path))
        except (SyntaxError, ValueError, OSError) as error:
            yield Finding(rules.UNREADABLE, file, f"cannot be read as Python: {error}")
            continue
        yield from blocking_calls(tree, file)


def shown(path: Path, target: Target) -> str:
    """Return the path of a file as seen from above the plugin's package."""
    root = target.root
    return str(path.relative_to(root.parent)) if root else path.name


def reaches_out(target: Target) -> bool:
    """Whether the plugin imports anything through which it could reach the world."""
    own = target.module.partition(".")[0]
    for path in target.files:
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError, OSError):
            return True
        for module in imported(tree):
            top = module.partition(".")[0]
            if top in REACHING_OUT or top not in sys.stdlib_module_names | HARMLESS | {own}:
                return True
    return not target.files


CHECKS: tuple[Callable[[Target], Iterator[Finding]], ...] = (check,)
