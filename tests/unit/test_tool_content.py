"""Content of every kind that a tool may return, as a client sees it in both eras."""

from typing import Annotated

import pytest
from exchanges import exchange, handshake, modern
from pydantic import BaseModel

from mcpserve import (
    Annotations,
    AudioContent,
    BlobResourceContents,
    CallToolResult,
    EmbeddedResource,
    Icon,
    ImageContent,
    ResourceLink,
    TextContent,
    TextResourceContents,
    ToolAnnotations,
    tool,
)

BOTH = pytest.mark.parametrize("send", [modern, handshake])
NOTE = {
    "annotations": Annotations(audience=["user"], priority=0.5, last_modified="2026-11-23"),
    "_meta": {"org.example/a": 1},
}
TOLD = {
    "annotations": {"audience": ["user"], "priority": 0.5, "lastModified": "2026-11-23"},
    "_meta": {"org.example/a": 1},
}
ICON = Icon(src="https://x.test/i.png", mime_type="image/png", sizes=["48x48"])
TEXT = TextResourceContents(uri="test://x", text="x", _meta={"org.example/b": 2})
BLOB = BlobResourceContents(uri="test://y", blob="AAAA", mime_type="image/png")

KINDS = [
    (TextContent(text="x", **NOTE), {"type": "text", "text": "x"}),
    (
        ImageContent(data="AAAA", mime_type="image/png", **NOTE),
        {"type": "image", "data": "AAAA", "mimeType": "image/png"},
    ),
    (
        AudioContent(data="AAAA", mime_type="audio/wav", **NOTE),
        {"type": "audio", "data": "AAAA", "mimeType": "audio/wav"},
    ),
    (
        EmbeddedResource(resource=TEXT, **NOTE),
        {
            "type": "resource",
            "resource": {"uri": "test://x", "text": "x", "_meta": {"org.example/b": 2}},
        },
    ),
    (
        EmbeddedResource(resource=BLOB, **NOTE),
        {
            "type": "resource",
            "resource": {"uri": "test://y", "blob": "AAAA", "mimeType": "image/png"},
        },
    ),
    (
        ResourceLink(uri="test://x", name="x", title="X", size=3, icons=[ICON], **NOTE),
        {
            "type": "resource_link",
            "uri": "test://x",
            "name": "x",
            "title": "X",
            "size": 3,
            "icons": [{"src": "https://x.test/i.png", "mimeType": "image/png", "sizes": ["48x48"]}],
        },
    ),
]
Content = TextContent | ImageContent | AudioContent | EmbeddedResource | ResourceLink


async def call(send, function):
    """Call a tool without arguments and return its result."""
    answer = await send(exchange(function), "tools/call", {"name": "give"})
    return answer.result


@BOTH
@pytest.mark.parametrize(("content", "shown"), KINDS)
async def test_content_arrives_as_it_is(send, content, shown):
    def give() -> Content:
        return content

    result = await call(send, give)
    assert result["content"] == [shown | TOLD]
    assert "structuredContent" not in result
    assert not result["isError"]


@BOTH
async def test_several_contents_arrive_in_their_order(send):
    async def give() -> list[Content]:
        return [content for content, _ in KINDS]

    result = await call(send, give)
    assert result["content"] == [shown | TOLD for _, shown in KINDS]
    assert "structuredContent" not in result


@BOTH
async def test_a_tool_that_returns_content_has_no_output_schema(send):
    def give() -> list[ImageContent]:
        return []

    (shown,) = (await send(exchange(give), "tools/list")).result["tools"]
    assert "outputSchema" not in shown


class Sum(BaseModel):
    """A structure."""

    total: int


@BOTH
async def test_a_whole_result_arrives_with_everything(send):
    def give() -> Annotated[CallToolResult, Sum]:
        return CallToolResult(
            content=[content for content, _ in KINDS],
            structured_content={"total": 3},
            _meta={"org.example/c": 3},
        )

    result = await call(send, give)
    assert result["content"] == [shown | TOLD for _, shown in KINDS]
    assert result["structuredContent"] == {"total": 3}
    assert result["_meta"]["org.example/c"] == 3
    (shown,) = (await send(exchange(give), "tools/list")).result["tools"]
    assert shown["outputSchema"]["required"] == ["total"]


@BOTH
@pytest.mark.parametrize("structure", [{"total": "many"}, {}, None])
async def test_a_structure_that_does_not_fit_the_schema_is_not_sent(send, structure):
    def give() -> Annotated[CallToolResult, Sum]:
        return CallToolResult(content=[], structured_content=structure)

    result = await call(send, give)
    assert result["isError"] is True
    assert result["content"] == [{"type": "text", "text": "Error executing tool give"}]
    assert "structuredContent" not in result


@BOTH
async def test_a_failure_of_the_tools_own_needs_no_structure(send):
    def give() -> Annotated[CallToolResult, Sum]:
        return CallToolResult(content=[TextContent(text="no")], is_error=True)

    result = await call(send, give)
    assert (result["isError"], result["content"]) == (True, [{"type": "text", "text": "no"}])


@BOTH
async def test_title_icons_hints_and_meta_are_listed(send):
    @tool(
        title="Give",
        icons=[ICON],
        meta={"ui": {"resourceUri": "ui://give"}},
        annotations=ToolAnnotations(title="Give!", destructive_hint=False),
    )
    def give() -> str:
        return ""

    (shown,) = (await send(exchange(give), "tools/list")).result["tools"]
    assert shown["title"] == "Give"
    assert shown["icons"] == KINDS[-1][1]["icons"]
    assert shown["_meta"]["ui"] == {"resourceUri": "ui://give"}
    assert shown["annotations"]["title"] == "Give!"
    assert shown["annotations"]["destructiveHint"] is False
