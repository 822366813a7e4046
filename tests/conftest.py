"""Fixtures for every test that needs PostgreSQL, or packages of npm."""

import asyncio
import os
import random
import sys
import tempfile
from pathlib import Path

import distribution
import node
import postgres
import pytest
from psycopg2.extensions import parse_dsn

from mcpserve import migrate
from mcpserve.db import Database

# httpcore looks for it with every request, which takes as long as a file takes to be missing.
sys.modules.setdefault("sniffio", None)

SCHEMA = Path(__file__).parent.parent / "schema"


def pytest_configure():
    """Choose the seed of this run: the same one for every process that runs tests."""
    os.environ.setdefault("FUZZ_SEED", str(random.SystemRandom().randrange(1 << 32)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Keep together what shares fixtures, where several processes run the tests."""
    return distribution.scheduler(config, log)


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
