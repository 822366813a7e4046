"""The official conformance suite: a server with what it looks for, a way in, and what it found."""

import asyncio
import json
import os
import shutil
import tomllib
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml
from e2e.process import Process, add_user, configure, environment, free_port, started
from serving import Flow
from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler

from docs.generate_mcp_compliance import Result

HERE = Path(__file__).parent
EXPECTED = HERE / "expected-failures.toml"
REVISIONS = ("2026-07-28", "2025-11-25")
PATIENCE = 300.0
"""Seconds for all scenarios of one revision."""
BY_CONNECTION = {"connection", "content-length", "transfer-encoding"}


@contextmanager
def conforming_server(folder: Path, dsn: str, **server: Any) -> Iterator[Process]:
    """Start a server that has installed the plugin, with these settings of its own."""
    path = configure(
        folder,
        dsn=dsn,
        plugins={"conformance": {}},
        server={"port": free_port(), **server},
    )
    add_user(path)
    paths = [install_plugin(folder / "site"), *filter(None, [os.environ.get("PYTHONPATH")])]
    with started(path, PYTHONPATH=os.pathsep.join(map(str, paths))) as process:
        yield process


def install_plugin(site: Path) -> Path:
    """Install the plugin into a folder, as an installer would."""
    metadata = site / "conformance_fixtures-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: conformance-fixtures\nVersion: 1.0\n"
    )
    (metadata / "entry_points.txt").write_text("[mcpserve]\nconformance = conformance_fixtures\n")
    shutil.copy(HERE / "fixtures.py", site / "conformance_fixtures.py")
    return site


class Proxy(RequestHandler):
    """Passes everything on as it comes, but for the access token: the suite has none."""

    def initialize(self, http: httpx.AsyncClient, token: str) -> None:
        """Keep what requests are passed on with."""
        self.http = http
        self.token = token

    async def prepare(self) -> None:
        """Answer, whatever the method is."""
        request = self.request
        headers = [
            (name, value)
            for name, value in request.headers.get_all()
            if name.lower() not in BY_CONNECTION
        ]
        if request.path == "/mcp":
            headers.append(("Authorization", f"Bearer {self.token}"))
        async with self.http.stream(
            request.method, request.uri, content=request.body, headers=headers
        ) as response:
            self.set_status(response.status_code)
            self.clear_header("Content-Type")
            for name, value in response.headers.multi_items():
                if name.lower() not in BY_CONNECTION:
                    self.add_header(name, value)
            async for chunk in response.aiter_raw():
                self.write(chunk)
                await self.flush()
        await self.finish()


async def run(command: list[Path], server: Process, folder: Path) -> dict[str, list[Result]]:
    """Run all scenarios of every revision; return what became of them, in the suite's order."""
    async with server.http(timeout=None) as http:
        http.headers.clear()  # Nothing is added to what the suite sends.
        port = int(server.url.rpartition(":")[2])
        options = {"http": http, "token": ""}
        application = Application([(".*", Proxy, options)], log_function=lambda handler: None)
        listening = application.listen(port, "127.0.0.1")
        options["token"] = (await Flow(server).tokens())["access_token"]
        try:
            return {
                revision: await run_revision(command, revision, server.resource, folder / revision)
                for revision in REVISIONS
            }
        finally:
            await stop(listening)


async def stop(listening: HTTPServer) -> None:
    """Let go of the port."""
    listening.stop()
    await listening.close_all_connections()


async def run_revision(command: list[Path], revision: str, url: str, folder: Path) -> list[Result]:
    """Run all scenarios that the suite has for a revision."""
    words = ["server", "--url", url, "--requirements", revision, "--output-dir", str(folder)]
    runner = await asyncio.create_subprocess_exec(
        *command, *words, stdout=PIPE, stderr=STDOUT, env=environment()
    )
    try:
        output, _ = await asyncio.wait_for(runner.communicate(), PATIENCE)
    finally:
        if runner.returncode is None:
            runner.kill()
            await runner.wait()
    (folder / "output.txt").write_bytes(output)
    required = requirements(command[1].parents[1], revision)
    return [Result(name, verdict(folder, name), reason) for name, reason in required.items()]


def requirements(modules: Path, revision: str) -> dict[str, str]:
    """Return the scenarios of a revision, each with the reason why it is not scored, if so."""
    package = modules / "@modelcontextprotocol" / "conformance"
    told = yaml.safe_load((package / "requirements" / f"{revision}.yaml").read_text())
    not_scored = {
        entry["scenario"]: entry["reason"]
        for entry in told["not_scored"]
        if entry["leg"] == "server"
    }
    return dict.fromkeys(told["server"], "") | not_scored


def verdict(folder: Path, scenario: str) -> str:
    """Return what became of a scenario: it fails with any of its checks."""
    [path] = folder.glob(f"server-{scenario}-20*/checks.json")
    found = {check["status"] for check in json.loads(path.read_text())}
    if "FAILURE" in found:
        return "failed"
    return "passed" if "SUCCESS" in found else "untested"


def expected_failures() -> Mapping[str, Mapping[str, str]]:
    """Return the scenarios that are known to fail, by revision, each with the reason."""
    return tomllib.loads(EXPECTED.read_text(encoding="utf-8"))
