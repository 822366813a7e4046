"""The OpenAPI description of the OAuth endpoints: it names them all, and says what they do."""

import runpy
import subprocess
from pathlib import Path

import pytest
import yaml
from blackbox.foreign import PLAIN_CLIENT, PLAIN_SECRET
from e2e.process import configure, started
from jsonschema import Draft202012Validator
from serving import CALLBACK, PUBLIC_CLIENT, Flow, serving

from mcpserve.web.routes import routes

ROOT = Path(__file__).parents[2]
DESCRIPTION = ROOT / "docs" / "reference" / "openapi.yaml"
SCHEMATHESIS = "schemathesis==4.32.5"
ELSEWHERE = {
    "/",
    "/authorize/decision",
    "/connections",
    "/connections/login",
    "/connections/logout",
    "/consent",
    "/login",
    "/logout",
    "/mcp",
    "/setup",
    "/static/style.css",
}
"""What is for people, and what the MCP specification describes."""
CONFIG = f"""
# No generated code, token or redirect URI is known here: what fits may be refused.
[checks]
positive_data_acceptance.enabled = false

[auth.openapi.client_secret_basic]
username = "{PLAIN_CLIENT}"
password = "{PLAIN_SECRET}"

# Nobody can guess these, and without them every request would end at the same refusal.
[[operations]]
include-path = "/authorize"
[operations.parameters]
client_id = "{PUBLIC_CLIENT}"
redirect_uri = "{CALLBACK}"
# The client is told of an error by a redirect (OAuth 2.1 §4.1.2.1).
[operations.checks]
negative_data_rejection.enabled = false

# Nothing to fuzz: their answers follow from no parameter.
[[operations]]
include-path-regex = "/.well-known/|z$"
phases.fuzzing.enabled = false
"""
PLENTY = {"failures": 1_000_000}
"""So many failures that none is refused because of those before it."""


def description():
    return yaml.safe_load(DESCRIPTION.read_text("utf-8"))


async def test_the_description_names_exactly_the_oauth_endpoints(dsn):
    async with serving(dsn) as server:
        table = {spec.regex.pattern.rstrip("$") for spec in routes(server.services)}
    paths = {path.replace("\\", "") for path in table}
    assert set(description()["paths"]) == paths - ELSEWHERE


async def test_what_no_generated_request_gets_is_as_described(dsn):
    described = description()

    def check(value, name):
        schema = {"$ref": f"#/components/schemas/{name}", "components": described["components"]}
        Draft202012Validator(schema).validate(value)

    async with serving(dsn) as server:
        flow = Flow(server).confidential()
        first = await flow.tokens()
        second = (await flow.refresh(first["refresh_token"])).json()
        for tokens in (first, second):
            check(tokens, "Tokens")
        for kind in ("access_token", "refresh_token"):
            introspected = await flow.post("/introspect", token=second[kind])
            assert introspected.json()["active"]
            check(introspected.json(), "Introspection")
        named = await flow.tokens(scope="openid profile email")
        headers = {"Authorization": f"Bearer {named['access_token']}"}
        async with server.http() as http:
            check((await http.get("/userinfo", headers=headers)).json(), "UserInfo")


@pytest.fixture(scope="module")
def schemathesis(roomy):
    """It has many dependencies and a plugin for pytest: an environment of its own."""
    dev = runpy.run_path(str(ROOT / "dev"))
    folder = roomy / "schemathesis"
    install = dev["make_venv"](folder)
    subprocess.run([*install, "--no-compile", SCHEMATHESIS], check=True, timeout=300)
    return folder / dev["BIN"].name / "st"


def test_schemathesis_finds_no_answer_that_is_not_described(
    schemathesis, dsn, configured, tmp_path
):
    config = configure(
        tmp_path,
        dsn=dsn,
        oauth={"clients": {"configured": configured, "registration": {"per_network": 1_000_000}}},
        limits={"authorize": PLENTY, "token": PLENTY, "revoke": PLENTY, "introspect": PLENTY},
    )
    settings = tmp_path / "schemathesis.toml"
    settings.write_text(CONFIG)
    with started(config) as process:
        command = [schemathesis, "--config-file", settings, "run", DESCRIPTION]
        options = ["--phases", "examples,coverage,fuzzing", "--max-time", "15"]
        options += ["--generation-deterministic", "--no-color"]
        ran = subprocess.run(
            [*command, "--url", process.url, *options],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert ran.returncode == 0, ran.stdout + ran.stderr
