"""What leaves the server for tools that return search results and documents."""

import json

import pytest
from jsonschema import validate
from pydantic import ValidationError

from mcpserve import Document, SearchResult, SearchResults, tool

ONE = {"id": "1", "title": "One", "url": "https://one.example/"}


def sent(model, **fields):
    """Return what a tool sends that returns such an object."""

    def found() -> model:
        return model(**fields)

    made = tool(found)
    result = made.result(found())
    [block] = result.content
    assert json.loads(block.text) == result.structured_content
    validate(result.structured_content, made.definition.output_schema)
    return result.structured_content


def test_only_what_is_known_is_sent():
    assert sent(SearchResults, results=[SearchResult(**ONE)]) == {"results": [ONE]}
    assert sent(SearchResults, results=[]) == {"results": []}
    assert sent(Document, **ONE, text="") == {**ONE, "text": ""}


def test_more_can_be_sent():
    more = {**ONE, "snippet": "…", "published": "2026-01-02"}
    assert sent(SearchResults, results=[SearchResult(**more)]) == {"results": [more]}
    document = {**ONE, "text": "t", "metadata": {"pages": 3, "authors": ["a"], "draft": None}}
    assert sent(Document, **document) == document


def test_a_subclass_sends_its_fields_too():
    class Numbered(SearchResults):
        total: int

    assert sent(Numbered, results=[], total=3) == {"results": [], "total": 3}


@pytest.mark.parametrize("field", ["id", "title", "url"])
@pytest.mark.parametrize(("model", "more"), [(SearchResult, {}), (Document, {"text": "t"})])
def test_what_could_not_be_fetched_or_cited_is_refused(model, more, field):
    with pytest.raises(ValidationError, match=field):
        model(**{**ONE, **more, field: ""})
