"""``recorded_http``: recorded once, replayed always, and no secret in the file."""

import base64
import contextlib
import json

import httpx
import httpx2
import pytest
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler

from mcpserve import hookimpl
from mcpserve.testing import UnrecordedRequest, load_plugin, recorded_http
from mcpserve.testing.masking import Mask

API = "http://api.example"
KEY = "hunter2-hunter2"


class Echo(RequestHandler):
    """A proxy for every host, that tells how often it was asked, and what it should not."""

    def initialize(self, asked):
        self.asked = asked

    def answer(self):
        self.asked.append(self.request.uri)
        self.set_header("Set-Cookie", f"session={KEY}")
        self.set_header("X-Request-Id", "of the moment")
        if self.request.uri.endswith("/image"):
            self.set_header("Content-Type", "image/png")
            self.finish(b"\x89PNG\xff")
        else:
            self.finish({"count": len(self.asked), "echo": self.request.uri, "accessToken": "t0"})

    get = post = answer


@contextlib.contextmanager
def upstream(monkeypatch):
    """Yield the list of what was asked of the Internet, which is this machine."""
    asked = []
    sock, port = bind_unused_port()
    server = HTTPServer(Application([(r".*", Echo, {"asked": asked})]))
    server.add_sockets([sock])
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
    for name in ("NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    try:
        yield asked
    finally:
        server.stop()


async def get(url, library=httpx, **options):
    """Ask as a tool would."""
    async with library.AsyncClient() as http:
        return await http.get(url, **options)


@pytest.mark.parametrize("library", [httpx, httpx2])
async def test_what_was_recorded_is_replayed_without_asking(tmp_path, monkeypatch, library):
    file = tmp_path / "deep" / "recording.json"
    with upstream(monkeypatch) as asked:
        with recorded_http(file, record=True):
            first = await get(f"{API}/a?q=1", library)
            await get(f"{API}/image", library)
        assert len(asked) == 2
        with recorded_http(file):
            again = await get(f"{API}/a?q=1", library)
            image = await get(f"{API}/image", library)
        assert len(asked) == 2
    assert (again.status_code, again.json()["echo"]) == (200, first.json()["echo"])
    assert (image.content, image.headers["content-type"]) == (b"\x89PNG\xff", "image/png")
    assert file.read_text().endswith("}\n")


async def test_identical_requests_are_answered_in_their_order_and_no_oftener(tmp_path, monkeypatch):
    file = tmp_path / "recording.json"
    counts = []

    async def ask(times, **options):
        with recorded_http(file, **options), contextlib.suppress(UnrecordedRequest):
            for _ in range(times):
                counts.append((await get(f"{API}/a")).json()["count"])

    with upstream(monkeypatch):
        await ask(2, record=True)
        with pytest.raises(UnrecordedRequest, match="is only 2 times in"):
            await ask(3)
    assert counts == [1, 2, 1, 2]


async def test_an_unrecorded_request_is_told_even_if_the_tool_hides_it(tmp_path):
    class Asks:
        @hookimpl
        def mcpserve_tools(self):
            async def ask() -> str:
                """Ask."""
                return (await get(f"{API}/a?key={KEY}")).text

            return [ask]

    with pytest.raises(UnrecordedRequest) as caught, recorded_http(tmp_path / "no.json"):
        async with load_plugin(Asks()) as loaded:
            assert (await loaded.call("ask")).is_error
    text = str(caught.value)
    assert text.startswith(f"GET {API}/a?key=*** is not in {tmp_path / 'no.json'}\n")
    assert "pytest --record-http" in text


async def test_requests_differ_by_method_and_body(tmp_path, monkeypatch):
    file = tmp_path / "recording.json"
    bodies = [{"json": {"q": "a"}}, {"json": {"q": "b"}}, {"content": b"\xff\xfe"}]
    with upstream(monkeypatch):
        async with httpx.AsyncClient() as http:
            with recorded_http(file, record=True):
                for body in bodies:
                    await http.post(f"{API}/a", **body)
            with recorded_http(file):
                counts = [
                    (await http.post(f"{API}/a", **body)).json()["count"]
                    for body in reversed(bodies)
                ]
    assert counts == [3, 2, 1]


def test_clients_without_a_loop_are_recorded_too(tmp_path):
    with (
        pytest.raises(UnrecordedRequest),
        recorded_http(tmp_path / "no.json"),
        httpx.Client() as http,
    ):
        http.get(f"{API}/a")


async def test_no_secret_gets_into_the_file(tmp_path, monkeypatch):
    file = tmp_path / "recording.json"
    basic = base64.b64encode(f"me:{KEY}".encode()).decode()
    with upstream(monkeypatch), recorded_http(file, record=True, hide=["tenant"]):
        async with httpx.AsyncClient() as http:
            await http.get(f"{API}/a", params={"api_key": KEY, "q": "x"})
            await http.get(f"{API}/{KEY}/a", headers={"Authorization": f"Bearer {KEY}"})
            await http.get(f"{API}/a?copy={KEY}", headers={"Authorization": f"Basic {basic}"})
            await http.get(f"http://me:{KEY}@api.example/a")
            await http.get(f"{API}/a", params={"Tenant": KEY})
            await http.get(f"{API}/a", headers={"X-Api-Key": KEY, "X-Other": "seen?"})
            await http.post(f"{API}/a", json={"deep": [{"clientSecret": KEY}], "q": "y"})
            await http.post(f"{API}/a", data={"token": KEY, "q": "z"})
            answer = await http.get(f"{API}/a")
    text = file.read_text()
    for secret in (KEY, basic, "seen?", "of the moment", "t0"):
        assert secret not in text
    assert answer.json()["accessToken"] == "t0"  # A tool may need it for what it asks next.
    assert '"q\\": \\"y\\"' in text
    assert "q=z" in text
    kept = [set(exchange["headers"]) for exchange in json.loads(text)["exchanges"]]
    assert all(names <= {"content-type", "etag"} for names in kept)


async def test_a_recording_made_with_one_key_is_replayed_with_another(tmp_path, monkeypatch):
    file = tmp_path / "recording.json"
    with upstream(monkeypatch), recorded_http(file, record=True):
        await get(f"{API}/a", params={"key": KEY})
    with recorded_http(file):
        assert (await get(f"{API}/a", params={"key": "another"})).status_code == 200


async def test_a_recording_that_did_not_end_well_is_not_written(tmp_path, monkeypatch):
    file = tmp_path / "recording.json"

    async def fail():
        with recorded_http(file, record=True):
            raise ZeroDivisionError(await get(f"{API}/a"))

    with upstream(monkeypatch), pytest.raises(ZeroDivisionError):
        await fail()
    assert not file.exists()


async def test_this_machine_is_asked_as_ever(tmp_path):
    sock, port = bind_unused_port()
    server = HTTPServer(Application([(r".*", Echo, {"asked": []})]))
    server.add_sockets([sock])
    try:
        with recorded_http(tmp_path / "no.json"):
            url = f"http://127.0.0.1:{port}/a"
            async with httpx.AsyncClient(trust_env=False) as http:
                assert (await http.get(url)).status_code == 200
    finally:
        server.stop()
    assert not (tmp_path / "no.json").exists()


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("access_token", True),
        ("refreshToken", True),
        ("X-API-Key", True),
        ("apikey", True),
        ("Password", True),
        ("country_code", False),
        ("keyword", False),
        ("tokens", False),
        ("key", False),
    ],
)
def test_names_of_fields_tell_whether_they_hold_a_secret(name, secret):
    assert Mask().hides(name) == secret


def test_a_parameter_named_key_holds_a_secret():
    assert Mask().form("key=a&code=b&keyword=c") == "key=***&code=***&keyword=c"
