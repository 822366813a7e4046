"""Checks of what a loaded plugin offers: what clients trip over, and what people cannot judge."""

import inspect
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mcpserve.apps import MIME_TYPE, page_uri
from mcpserve.checking import rules
from mcpserve.checking.findings import Finding
from mcpserve.registry import Registry
from mcpserve.resources import Resource
from mcpserve.tools import Offer, Tool

ARGUMENT_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
TOP_LEVEL = ("anyOf", "oneOf", "allOf", "enum", "not", "$ref")
HINTS = ("read_only_hint", "destructive_hint", "open_world_hint")
STATUS = ("openai/toolInvocation/invoking", "openai/toolInvocation/invoked")


@dataclass(frozen=True)
class Offered:
    """What a plugin offers, and what its authors wrote beside it."""

    registry: Registry
    readme: str | None
    """``None`` if there is no package that could have one."""
    reaches_out: bool
    """Whether its modules import anything that could reach the world."""

    @property
    def tools(self) -> list[Tool]:
        """Its tools."""
        return [bound.offer for bound in self.registry.tools]

    @property
    def pages(self) -> dict[str, Resource]:
        """Its resources by URI."""
        return {bound.offer.uri: bound.offer for bound in self.registry.resources}

    @property
    def offers(self) -> list[Offer]:
        """All of it."""
        registry = self.registry
        every = (*registry.tools, *registry.resources, *registry.prompts)
        return [bound.offer for bound in every]


def place(offer: Offer, argument: str | None = None) -> str:
    """Return where a finding is."""
    return f"{offer.kind} {offer.name}" + (f", argument {argument}" if argument else "")


def functions(offered: Offered) -> Iterator[Finding]:
    """Require functions that return what they have to say."""
    for offer in offered.offers:
        function = offer.function
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            yield Finding(rules.GENERATOR, place(offer))


def names(offered: Offered) -> Iterator[Finding]:
    """Require names that stay whole with the server's name in front."""
    for tool in offered.tools:
        if len(tool.name) > rules.LONG_NAME:
            yield Finding(rules.LONG_TOOL_NAME, place(tool))


def descriptions(offered: Offered) -> Iterator[Finding]:
    """Require what a model chooses by."""
    for offer in offered.offers:
        text = (offer.description or "").strip()
        if not text:
            yield Finding(rules.NO_DESCRIPTION, place(offer))
        elif len(text) > rules.LONG_DESCRIPTION:
            detail = f"its description has {len(text)} characters"
            yield Finding(rules.LONG_TEXT, place(offer), detail)


def arguments(offered: Offered) -> Iterator[Finding]:
    """Require what a model fills them in by; those of a template are in its URI."""
    for offer in offered.offers:
        if isinstance(offer, Resource):
            continue
        for name, field in offer.arguments.items():
            if not ARGUMENT_NAME.fullmatch(name):
                yield Finding(rules.ARGUMENT_NAME, place(offer, name))
            if not (field.description or "").strip():
                yield Finding(rules.NO_ARGUMENT_DESCRIPTION, place(offer, name))


def input_schemas(offered: Offered) -> Iterator[Finding]:
    """Require what every client takes of JSON Schema."""
    for tool in offered.tools:
        schema = tool.input_schema
        text = json.dumps(schema, ensure_ascii=False)
        if len(text) > rules.LARGE_SCHEMA:
            detail = f"its input schema has {len(text)} characters"
            yield Finding(rules.LARGE_INPUT, place(tool), detail)
        if found := [key for key in TOP_LEVEL if key in schema]:
            detail = f"its input schema has {', '.join(found)} at the top"
            yield Finding(rules.TOP_LEVEL, place(tool), detail)
        elif '"$ref":' in text:
            yield Finding(rules.REFERENCES, place(tool))


def hints(offered: Offered) -> Iterator[Finding]:
    """Require what clients ask the person by."""
    for tool in offered.tools:
        if unsaid := [hint for hint in HINTS if getattr(tool.annotations, hint, None) is None]:
            yield Finding(rules.HINT, place(tool), f"does not say {', '.join(unsaid)}")
        if tool.hints.read_only_hint and tool.hints.destructive_hint:
            yield Finding(rules.CONTRADICTION, place(tool))
        # What is not said is a finding of its own.
        given = tool.annotations and tool.annotations.open_world_hint
        if given and not offered.reaches_out:
            yield Finding(rules.NO_WORLD, place(tool))


def pages(offered: Offered) -> Iterator[Finding]:
    """Require a page where a result is shown on a resource; that it is there is sure by now."""
    for tool in offered.tools:
        uri = page_uri(tool.meta)
        page = offered.pages.get(uri) if uri else None
        if page and page.mime_type != MIME_TYPE:
            detail = f"{uri} is {page.mime_type or 'of no type'}, not {MIME_TYPE}"
            yield Finding(rules.NO_PAGE, place(tool), detail)


def status_texts(offered: Offered) -> Iterator[Finding]:
    """Require what ChatGPT can show while a tool runs."""
    for tool in offered.tools:
        for key in STATUS:
            if len(str((tool.meta or {}).get(key, ""))) > rules.LONG_STATUS:
                yield Finding(rules.LONG_STATUS_TEXT, place(tool), f"{key} is too long")


def scopes(offered: Offered) -> Iterator[Finding]:
    """Require that an operator can know what to grant."""
    if offered.readme is None:
        return
    for offer in offered.offers:
        for scope in sorted(offer.scopes):
            if scope not in offered.readme:
                detail = f"needs the scope {scope}, which the README does not name"
                yield Finding(rules.SCOPE_UNDOCUMENTED, place(offer), detail)


CHECKS: tuple[Callable[[Offered], Iterator[Finding]], ...] = (
    functions,
    names,
    descriptions,
    arguments,
    input_schemas,
    hints,
    pages,
    status_texts,
    scopes,
)
