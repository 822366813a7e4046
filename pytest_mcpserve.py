"""What pytest finds of mcpserve: fixtures for the tests of plugins, and ``async def`` tests.

A module of its own, which imports nothing of mcpserve until a fixture is asked for: pytest loads it
in every project where mcpserve is installed.
"""

import asyncio
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:  # Importing them takes a second.
    from mcpserve.testing import Recorder, RunningServer


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what the tests of a plugin may say."""
    parser.getgroup("mcpserve").addoption(
        "--record-http",
        action="store_true",
        help="record the HTTP of tools anew, in tests with the fixture recorded_http",
    )
    parser.addini(
        "mcpserve_async",
        "run async def tests, each on a loop of its own",
        type="bool",
        default=False,
    )
    parser.addini(
        "mcpserve_hide", "more names of query parameters and fields that are secrets", type="args"
    )


@pytest.hookimpl
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> object | None:
    """Run an ``async def`` test, if the project wants that and no other plugin has done it."""
    test = pyfuncitem.obj
    if not pyfuncitem.config.getini("mcpserve_async") or not inspect.iscoroutinefunction(test):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    asyncio.run(test(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


@pytest.fixture
def load_plugin() -> Callable[..., Any]:
    """See :func:`mcpserve.testing.load_plugin`."""
    from mcpserve import testing

    return testing.load_plugin


@pytest.fixture(scope="session")
def mcpserve_database() -> Iterator[str]:
    """DSN of a PostgreSQL for this run, which the servers of all tests share."""
    from mcpserve import testing

    with testing.temporary_database() as dsn:
        yield dsn


@pytest.fixture
def running_server(mcpserve_database: str) -> "RunningServer":
    """See :func:`mcpserve.testing.running_server`; one database serves all tests."""
    from mcpserve import testing

    return functools.partial(testing.running_server, dsn=mcpserve_database)


@pytest.fixture
def recorded_http(request: pytest.FixtureRequest) -> Iterator["Recorder"]:
    """Answer HTTP from ``recordings/MODULE/TEST.json`` beside the test, or record it there."""
    from mcpserve import testing

    folder = request.path.parent / "recordings" / request.path.stem
    path = folder / f"{file_name(request.node.name)}.json"
    record = request.config.getoption("--record-http")
    hide = request.config.getini("mcpserve_hide")
    with testing.recorded_http(path, record=record, hide=hide) as recorder:
        yield recorder


def file_name(test: str) -> str:
    """Return a test's name as every file system takes it."""
    return "".join(letter if letter.isalnum() or letter in "-_[]." else "_" for letter in test)
