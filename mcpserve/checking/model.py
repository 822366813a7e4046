"""Checks of the model of a plugin's ``config:``."""

import re
from collections.abc import Callable, Iterator
from typing import Annotated, Any, get_args

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from mcpserve.checking import rules
from mcpserve.checking.findings import Finding

SECRET_NAME = re.compile(
    r"(?:^|_)(?:key|apikey|passw(?:or)?d|passphrase|secret|token|credential|cookie)s?$",
    re.IGNORECASE,
)
"""At the end: ``token_url`` and ``key_file`` are no secrets."""


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models that a type is made of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from models_in(argument)


def sections(model: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield the model and those inside of it, each once, with their key paths."""
    seen: set[type[BaseModel]] = set()
    waiting = [("config", model)]
    while waiting:
        path, section = waiting.pop(0)
        if section in seen:
            continue
        seen.add(section)
        yield path, section
        for name, field in section.model_fields.items():
            key = f"{path}.{field.alias or name}"
            waiting += [(key, inner) for inner in models_in(field.annotation)]


def fields(model: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
    """Yield every field with its key path."""
    for path, section in sections(model):
        for name, field in section.model_fields.items():
            yield f"{path}.{field.alias or name}", field


def types_in(annotation: Any) -> Iterator[Any]:
    """Yield a type and those that it is made of."""
    yield annotation
    for argument in get_args(annotation):
        yield from types_in(argument)


def extra(model: type[BaseModel]) -> Iterator[Finding]:
    """Require that a mistyped key is told."""
    for path, section in sections(model):
        if section.model_config.get("extra") != "forbid":
            yield Finding(rules.EXTRA, path)


def descriptions(model: type[BaseModel]) -> Iterator[Finding]:
    """Require what an operator reads in an editor."""
    for key, field in fields(model):
        if not field.description:
            yield Finding(rules.FIELD_DESCRIPTION, key)


def secrets(model: type[BaseModel]) -> Iterator[Finding]:
    """Require that a secret is declared, so that it shows nowhere."""
    for key, field in fields(model):
        types = set(map(id, types_in(field.annotation)))
        if SECRET_NAME.search(key.rpartition(".")[2]) and types & {id(str), id(bytes)}:
            yield Finding(rules.PLAIN_SECRET, key)


def defaults(model: type[BaseModel]) -> Iterator[Finding]:
    """Require that they fit: pydantic does not look, and whoever writes one out is refused."""
    for key, field in fields(model):
        if field.is_required() or field.default_factory is not None:
            continue
        checked: Any = field.annotation
        for metadata in field.metadata:
            checked = Annotated[checked, metadata]
        try:
            TypeAdapter(checked).validate_python(field.default)
        except ValidationError:
            yield Finding(rules.DEFAULT, key)


CHECKS: tuple[Callable[[type[BaseModel]], Iterator[Finding]], ...] = (
    extra,
    descriptions,
    secrets,
    defaults,
)
