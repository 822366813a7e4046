"""One run of the suite for all tests here; it is told at the end, and written if asked for."""

import asyncio
import os

import node
import postgres
import pytest
from conformance import suite
from e2e.process import free_port

from docs import generate_mcp_compliance as compliance

VERSION = node.PACKAGES["@modelcontextprotocol/conformance"]
RESULTS = pytest.StashKey()


@pytest.fixture(scope="session")
def results(request, cluster, template, npm, node_22, tmp_path_factory):
    """What became of each scenario, by revision."""
    folder = tmp_path_factory.mktemp("conformance")
    url = f"http://127.0.0.1:{free_port()}"
    command = [node_22, npm / "node_modules" / ".bin" / "conformance"]
    with (
        postgres.new_database(cluster, template=template) as dsn,
        suite.conforming_server(folder, dsn, public_url=url) as server,
    ):
        found = asyncio.run(suite.run(command, server, folder))
    request.config.stash[RESULTS] = found
    if "MCPSERVE_WRITE_COMPLIANCE" in os.environ:
        page = compliance.page(VERSION, found, suite.expected_failures())
        compliance.TARGET.write_text(page, encoding="utf-8")
    return found


def pytest_terminal_summary(terminalreporter, config):
    """Tell the scores."""
    for revision, found in config.stash.get(RESULTS, {}).items():
        terminalreporter.write_line(f"{revision}: {compliance.score(found)}")
