"""What tools named ``search`` and ``fetch`` return, as ChatGPT's deep research reads it.

A tool that is annotated to return one of these sends exactly this: as structured content, as the
same JSON in one text, and with its schema. What is empty is left out.
"""

from typing import Annotated

from pydantic import BaseModel, Field, JsonValue

Needed = Annotated[str, Field(min_length=1)]


def is_empty(value: object) -> bool:
    """Whether a field says nothing."""
    return not value


class SearchResult(BaseModel):
    """One thing that was found."""

    id: Needed = Field(description="What fetch takes to return the whole.")
    title: Needed = Field(description="What people call it.")
    url: Needed = Field(description="Where a person can see it; nothing is cited without.")
    snippet: str = Field("", exclude_if=is_empty, description="Excerpt or summary; plain text.")
    published: str = Field(
        "", exclude_if=is_empty, description="When it was published or last changed."
    )


class SearchResults(BaseModel):
    """What a search found. Subclass it to say more."""

    results: list[SearchResult] = Field(description="What was found, best match first.")


class Document(BaseModel):
    """The whole of something, or a part of it that fits a model."""

    id: Needed = Field(description="What it was asked for by.")
    title: Needed = Field(description="What people call it.")
    text: str = Field(description="The text.")
    url: Needed = Field(description="Where a person can see it; nothing is cited without.")
    metadata: dict[str, JsonValue] = Field(
        default_factory=dict, exclude_if=is_empty, description="What else is known of it."
    )
