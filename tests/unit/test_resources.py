"""Resources as their authors write them, and reading one."""

import base64
import json
from datetime import date
from typing import Any

import pytest
from exchanges import CALLER, bound
from pydantic import BaseModel

from mcpserve import (
    Annotations,
    BlobResourceContents,
    Icon,
    ResourceNotFound,
    TextResourceContents,
    ToolContext,
    ToolError,
    resource,
)
from mcpserve.bound import CallFailed, Outcome
from mcpserve.errors import InsufficientScope
from mcpserve.registry import ResourceRegistry, UnknownResource


def take(**arguments: Any) -> str:
    """Return the arguments."""
    return json.dumps(arguments)


async def read(uri, *made, **settings):
    """Read a URI of these resources and return the contents."""
    registry = ResourceRegistry(bound(each, **settings) for each in made)
    return (await registry.read(uri, ToolContext(CALLER))).contents


async def content(value, **told):
    """Return the one content that a resource with this value has."""
    (content,) = await read("test://x", resource("test://x", **told)(lambda: value))
    assert content.uri == "test://x"
    return content


def test_a_resource_is_described_by_its_function():
    annotations = Annotations(audience=["user"], priority=0.5)
    icon = Icon(src="https://x.test/i.png")

    @resource(
        "test://x",
        title="X",
        mime_type="text/csv",
        size=7,
        annotations=annotations,
        icons=[icon],
        meta={"org.example/a": 1},
    )
    def table() -> str:
        """A table."""
        return ""

    assert table.definition.model_dump(exclude_none=True, by_alias=True) == {
        "name": "table",
        "title": "X",
        "description": "A table.",
        "uri": "test://x",
        "mimeType": "text/csv",
        "size": 7,
        "annotations": {"audience": ["user"], "priority": 0.5},
        "icons": [{"src": "https://x.test/i.png"}],
        "_meta": {"org.example/a": 1},
    }


def test_a_template_is_told_as_one():
    @resource("test://{city}/now", name="now", description="Now.")
    def other(city: str, ctx: ToolContext) -> str:
        return city

    told = other.definition.model_dump(exclude_none=True, by_alias=True)
    assert told == {"name": "now", "description": "Now.", "uriTemplate": "test://{city}/now"}


async def test_text_bytes_and_json_become_contents_of_their_type():
    text = await content("héllo")
    assert (text.text, text.mime_type) == ("héllo", "text/plain")
    blob = await content(b"\0\xff")
    assert base64.b64decode(blob.blob) == b"\0\xff"
    assert blob.mime_type == "application/octet-stream"
    for value in ({"a": [1, None]}, [1, 2], 5, [], True):
        shown = await content(value)
        assert json.loads(shown.text) == value
        assert shown.mime_type == "application/json"


class City(BaseModel):
    """A place."""

    name: str
    founded: date


async def test_a_model_becomes_json():
    shown = await content(City(name="Oslo", founded=date(1048, 1, 1)))
    assert json.loads(shown.text) == {"name": "Oslo", "founded": "1048-01-01"}


@pytest.mark.parametrize("value", ["text", b"bytes", {"a": 1}])
async def test_the_author_says_the_type_and_what_else_is_told(value):
    shown = await content(value, mime_type="text/html;profile=mcp-app", meta={"ui": {"a": 1}})
    assert shown.mime_type == "text/html;profile=mcp-app"
    assert shown.meta == {"ui": {"a": 1}}


async def test_contents_of_the_authors_own_are_not_touched():
    own = [
        TextResourceContents(uri="test://a", text="a", _meta={"x": 1}),
        BlobResourceContents(uri="test://b", blob="AAAA", mime_type="image/png"),
    ]
    made = resource("test://x", mime_type="text/plain")(lambda: own)
    assert await read("test://x", made) == own
    assert await read("test://x", resource("test://x")(lambda: own[0])) == own[:1]


NO_CONTENT = {
    "nothing": None,
    "object": object(),
    "objects": [object()],
}


@pytest.mark.parametrize("value", NO_CONTENT.values(), ids=NO_CONTENT)
async def test_what_is_no_content_is_a_crash(value, caplog):
    with pytest.raises(CallFailed) as caught:
        await content(value)
    assert caught.value.outcome is Outcome.CRASH
    assert "failed" in caplog.text


async def test_arguments_are_converted_to_what_the_function_declares():
    @resource("test://{city}/{day}{?hour,exact}")
    async def weather(city: str, day: date, hour: int = 12, exact: bool = False) -> str:
        """Weather."""
        return repr((city, day, hour, exact))

    (shown,) = await read("test://S%C3%A3o%20Paulo/2026-11-23?exact=true", weather)
    assert shown.text == repr(("São Paulo", date(2026, 11, 23), 12, True))
    assert shown.uri == "test://S%C3%A3o%20Paulo/2026-11-23?exact=true"


@pytest.mark.parametrize(
    ("template", "uri", "arguments"),
    [
        ("test://{name}", "test://a", {"name": "a"}),
        ("test://{name}", "test://a/b", None),
        ("test://{name}", "test://a?b", None),
        ("test://{name}", "TEST://a", None),
        ("test://{name}", "test://a b", None),
        ("test://{name}", "test://a\n", None),
        ("test://{name}", "test://{name}", None),
        ("test://{name}", " test://a", None),
        ("test://{name}/x", "test://a/xx", None),
        ("test://{name}", "test://a%2Fb", {"name": "a/b"}),
        ("test://{+path}", "test://a/b", {"path": "a/b"}),
        ("test:/{/path*}", "test://a/b", {"path": ["a", "b"]}),
        ("test://{name}", "test://[1]", {"name": "[1]"}),
        ("test://x", "test://x", {}),
        ("test://x", "test://x/", None),
    ],
)
def test_a_uri_fits_a_template_or_not(template, uri, arguments):
    names = {"path*": "path: list[str]", "+path": "path: str", "name": "name: str"}
    wanted = next((names[name] for name in names if name in template), "")
    function = {}
    exec(f"def one({wanted}) -> str: ...", function)
    assert resource(template)(function["one"]).match(uri) == arguments


@pytest.mark.parametrize(
    "value", ["..", "%2E%2E", "..%2F..%2Fetc", "%2Fetc%2Fpasswd", "a%00", "..%5Cx", "C%3A%5Cx"]
)
async def test_an_argument_that_leads_out_of_a_folder_names_nothing(value):
    strict = resource("test://a/{name}")(lambda name: "strict")
    lax = resource("test://{+rest}", name="lax")(lambda rest: "lax")
    with pytest.raises(UnknownResource):
        await read(f"test://a/{value}", strict, lax)
    (shown,) = await read("test://a/%2E%2Ex", strict, lax)
    assert shown.text == "strict"


async def test_a_plain_resource_goes_before_templates_and_they_in_their_order():
    first = resource("test://{a}", name="first")(lambda a: "first")
    second = resource("test://{+b}", name="second")(lambda b: "second")
    plain = resource("test://plain", name="plain")(lambda: "plain")
    for uri, text in [("plain", "plain"), ("other", "first"), ("other/one", "second")]:
        (shown,) = await read(f"test://{uri}", first, second, plain)
        assert shown.text == text


@pytest.mark.parametrize("uri", ["test://y", "", "test:", "{", "x" * 70_000, "test://x#"])
async def test_a_uri_under_which_there_is_nothing_is_unknown(uri):
    with pytest.raises(UnknownResource, match="Resource not found"):
        await read(uri, resource("test://x")(lambda: ""))


async def test_the_author_may_say_that_there_is_nothing():
    @resource("test://{city}")
    def city(city: str) -> str:
        """Find a city."""
        raise ResourceNotFound("no such city")

    with pytest.raises(UnknownResource, match="no such city: test://Atlantis"):
        await read("test://Atlantis", city)


async def test_an_argument_of_the_wrong_type_names_nothing():
    day = resource("test://{day}", name="day")
    with pytest.raises(UnknownResource, match="day: day: Input should be a valid integer"):
        await read("test://hunter", day(need_int))


def need_int(day: int) -> str:
    """Need a number."""
    return ""


async def test_a_failure_that_the_author_tells_is_told():
    @resource("test://x")
    def fail() -> str:
        """Fail."""
        raise ToolError("the archive is closed today")

    with pytest.raises(ToolError, match="closed today"):
        await read("test://x", fail)


async def test_the_function_may_know_who_calls():
    @resource("test://x")
    def whose(ctx: ToolContext) -> str:
        """Tell the caller."""
        return ctx.principal.subject

    (shown,) = await read("test://x", whose)
    assert shown.text == CALLER.subject


async def test_a_missing_scope_is_raised_with_all_that_are_needed():
    made = resource("test://{a}", scopes=["more"])(lambda a: "")
    with pytest.raises(InsufficientScope) as caught:
        await read("test://a", made, scopes=["plugin"])
    assert caught.value.scopes == {"mcp.tools.call", "more", "plugin"}


@pytest.mark.parametrize(
    ("uri", "function", "problem"),
    [
        ("test://{a}", lambda: "", "has the arguments a, the function none"),
        ("test://x", lambda a: "", "has the arguments none, the function a"),
        ("test://{a}", lambda a, b=1: "", "has the arguments a, the function a, b"),
        ("test://{a}{?b}", lambda a, b: "", "'b' may be missing, give it a default"),
        ("test://{a}{b}", lambda a, b: "", "adjacent"),
        ("test://{a", lambda a: "", "Unclosed"),
        ("no scheme", lambda: "", "is no URI"),
        ("/path", lambda: "", "is no URI"),
        ("test://with space", lambda: "", "is no URI"),
        ("{a}", lambda a: "", "is no URI"),
        ("test://x", lambda *a: "", "cannot be given by name"),
    ],
)
def test_uri_and_function_must_fit_together(uri, function, problem):
    with pytest.raises((TypeError, ValueError), match=problem):
        resource(uri, name="made")(function)


def test_a_template_has_no_size():
    with pytest.raises(ValueError, match="no size"):
        resource("test://{a}", size=1)(lambda a: "")
