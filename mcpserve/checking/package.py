"""Checks of the package around a plugin."""

from collections.abc import Callable, Iterator

from mcpserve.checking import rules
from mcpserve.checking.findings import Finding
from mcpserve.checking.target import Target, normalized
from mcpserve.hooks import PROJECT


def entry_point(target: Target) -> Iterator[Finding]:
    """Require that a server can find it."""
    if target.package is None:
        yield Finding(rules.NO_PACKAGE)
    elif not target.is_entry_point:
        yield Finding(rules.NO_ENTRY_POINT)


def requirement(target: Target) -> Iterator[Finding]:
    """Require that it says what it is a plugin of."""
    package = target.package
    if package and PROJECT not in (*package.requires, normalized(package.name)):
        yield Finding(rules.NOT_REQUIRED)


def name(target: Target) -> Iterator[Finding]:
    """Require a name under which people find it."""
    package = target.package
    if package and not f"{normalized(package.name)}-".startswith(f"{PROJECT}-"):
        yield Finding(rules.PREFIX, detail=f"its package is called {package.name or 'nothing'}")


def version(target: Target) -> Iterator[Finding]:
    """Require that one can tell which one runs."""
    if target.package and target.package.version in ("", "0.0.0"):
        yield Finding(rules.NO_VERSION)


def summary(target: Target) -> Iterator[Finding]:
    """Require that it says in a line what it is."""
    if target.package and not target.package.summary:
        yield Finding(rules.NO_SUMMARY)


def readme(target: Target) -> Iterator[Finding]:
    """Require that it says how to use it."""
    if target.package and not target.package.readme.strip():
        yield Finding(rules.NO_README)


def typed(target: Target) -> Iterator[Finding]:
    """Require that type checkers may believe its annotations."""
    root = target.root
    if target.package is None or root is None:
        return
    # A module of the server's own package is typed with that.
    if not ((root if root.is_dir() else root.parent) / "py.typed").is_file():
        yield Finding(rules.NO_PY_TYPED)


CHECKS: tuple[Callable[[Target], Iterator[Finding]], ...] = (
    entry_point,
    requirement,
    name,
    version,
    summary,
    readme,
    typed,
)
