"""A strict JavaScript client (oauth4webapi) against a started server: it accepts every answer."""

import json
import shutil
import subprocess
from pathlib import Path

import postgres
import pytest
from e2e.process import PATIENCE, add_user, configure, started
from serving import CALLBACK, PASSWORD, PUBLIC_CLIENT, SECRET, SECRET_CLIENT, USER

LIBRARY = "oauth4webapi@3.8.8"
FLOW = Path(__file__).with_name("strict") / "flow.mjs"
METHODS = {
    "none": (PUBLIC_CLIENT, None),
    "client_secret_basic": (SECRET_CLIENT, SECRET),
    "client_secret_post": (SECRET_CLIENT, SECRET),
}


@pytest.fixture(scope="module")
def flow(tmp_path_factory):
    """The script, beside the library that it imports."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("there is no npm here")
    folder = tmp_path_factory.mktemp("npm")
    quiet = ["--no-save", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts"]
    command = [npm, "install", *quiet, "--prefix", folder, LIBRARY]
    installed = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert installed.returncode == 0, installed.stderr
    return shutil.copy(FLOW, folder)


@pytest.fixture(scope="module")
def server(cluster, template, tmp_path_factory):
    with postgres.new_database(cluster, template=template) as dsn:
        config = configure(tmp_path_factory.mktemp("server"), dsn=dsn)
        add_user(config)
        with started(config) as process:
            yield process


async def answer(server, url, decision):
    """Be the person: open the page, log in, press a button; return where that leads."""
    async with server.browser() as browser:
        await browser.open(url)
        await browser.log_in(USER, PASSWORD)
        return (await browser.submit(button=decision)).headers["location"]


async def walk(flow, server, *, method, decision="approve"):
    """Let the script go all the way, and return what it saw."""
    client_id, secret = METHODS[method]
    told = {
        "resource": server.resource,
        "clientId": client_id,
        "secret": secret,
        "method": method,
        "redirectUri": CALLBACK,
    }
    pipe = subprocess.PIPE
    with subprocess.Popen(["node", flow], stdin=pipe, stdout=pipe, stderr=pipe, text=True) as node:
        try:
            node.stdin.write(json.dumps(told) + "\n")
            node.stdin.flush()
            asked = node.stdout.readline()
            assert asked, node.communicate(timeout=PATIENCE)[1]
            callback = await answer(server, json.loads(asked)["authorize"], decision)
            output, errors = node.communicate(callback + "\n", timeout=PATIENCE)
        finally:
            node.kill()
    assert node.returncode == 0, errors
    return json.loads(output)


# MD-11, AZ-02, CA-01, CA-02, CA-04, BR-02, RV-01
@pytest.mark.parametrize("method", METHODS)
async def test_a_strict_client_accepts_every_answer(flow, server, method):
    metadata_url = f"{server.url}/.well-known/oauth-protected-resource/mcp"
    seen = await walk(flow, server, method=method)
    assert seen == {
        "challenge": seen["challenge"],
        "metadataUrl": metadata_url,
        "issuers": [server.url, server.url],
        "tokenType": "bearer",
        "called": 200,
        "rotated": True,
        "calledAgain": 200,
        "refreshRevoked": {"status": 400, "error": "invalid_grant"},
        "callRevoked": 401,
        "replayed": {"status": 400, "error": "invalid_grant"},
    }
    assert seen["challenge"]["status"] == 401
    assert seen["challenge"]["error"] == "invalid_token"
    assert seen["challenge"]["resource_metadata"] == metadata_url


async def test_a_strict_client_accepts_a_refusal(flow, server):
    seen = await walk(flow, server, method="none", decision="deny")
    assert seen["denied"] == "access_denied"
