"""The official conformance runner's scenarios for authorization servers."""

import json

import pytest
from blackbox.foreign import AUTHORIZE, DESKTOP_CLIENT, find, finish, running, visit
from e2e.process import free_port

PASSED = {
    "authorization-server-metadata",
    "authorization-server-metadata-cimd",
    "authorization-code-grant",
}


@pytest.fixture
def command(npm, node_22):
    """The runner."""
    return [node_22, npm / "node_modules" / ".bin" / "conformance"]


async def test_the_runner_has_the_scenarios_that_are_run_here(command):
    async with running(*command, "list") as runner:
        output, _ = await finish(runner)
    listed = output.partition("Authorization server scenarios")[2]
    assert [line.split()[1] for line in listed.splitlines() if line.startswith("  - ")] == [
        "authorization-server-metadata-endpoint",
        "authorization-code-grant",
    ]


# No scenario is left out. The runner sends no secret to a server that also takes public clients,
# so the client is one.
async def test_every_check_of_the_conformance_runner_succeeds(command, server, tmp_path):
    options = {
        "--url": server.url,
        "--client-id": DESKTOP_CLIENT,
        "--resource": server.resource,
        "--port": free_port(),
        "--output-dir": tmp_path,
    }
    words = [word for option in options.items() for word in option]
    async with running(*command, "authorization", *words) as runner:
        await visit(await find(runner.stdout, AUTHORIZE))
        await finish(runner)
    checks = [
        check for path in tmp_path.glob("*/checks.json") for check in json.loads(path.read_text())
    ]
    assert {check["id"]: check["status"] for check in checks} == dict.fromkeys(PASSED, "SUCCESS")
