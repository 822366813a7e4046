"""Fixtures for every test that needs PostgreSQL, or packages of npm."""

import asyncio
import os
import random
import tempfile
from pathlib import Path

import node
import postgres
import pytest
from psycopg2.extensions import parse_dsn

from mcpserve import migrate
from mcpserve.db import Database

SCHEMA = Path(__file__).parent.parent / "schema"

NPM = {"blackbox", "conformance"}
"""The folders whose tests need packages of npm; no two processes should install them."""


def pytest_configure():
    """Choose the seed of this run: the same one for every process that runs tests."""
    os.environ.setdefault("FUZZ_SEED", str(random.SystemRandom().randrange(1 << 32)))


def pytest_collection_modifyitems(items):
    """Keep together what shares fixtures, where several processes run the tests."""
    for item in items:
        folder = item.path.parent.name
        item.add_marker(pytest.mark.xdist_group("npm" if folder in NPM else str(item.path)))


@pytest.fixture(scope="session")
def cluster():
    """DSN of a maintenance database: MCPSERVE_TEST_DSN, or of a cluster for this run."""
    with postgres.cluster() as dsn:
        yield dsn


@pytest.fixture(scope="session")
def template(cluster):
    """Name of a database with the whole schema and no rows."""

    async def apply(dsn):
        async with Database.connect(dsn) as db:
            await migrate.apply(db, SCHEMA)

    with postgres.new_database(cluster) as dsn:
        asyncio.run(apply(dsn))
        yield parse_dsn(dsn)["dbname"]


@pytest.fixture
def dsn(cluster, template):
    """DSN of a migrated database of this test's own."""
    with postgres.new_database(cluster, template=template) as dsn:
        yield dsn


@pytest.fixture
def empty_dsn(cluster):
    """DSN of a database of this test's own, without any table."""
    with postgres.new_database(cluster) as dsn:
        yield dsn


@pytest.fixture(scope="session")
def roomy():
    """A folder for hundreds of megabytes in thousands of files, some of which are programs."""
    with tempfile.TemporaryDirectory(prefix="mcpserve-roomy-", dir=postgres.memory()) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def npm(roomy):
    """The folder that has every package."""
    node.install(roomy)
    return roomy


@pytest.fixture(scope="session")
def node_22(npm):
    """Node 22."""
    return npm / "node_modules" / node.NODE_22 / "bin" / "node"
