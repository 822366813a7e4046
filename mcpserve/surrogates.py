"""Halves of surrogate pairs, which Python's text may hold and no UTF-8 and no JSON can carry.

They come from names of odd files, or from an emoji that was cut in two. What goes out has U+FFFD
there. Nobody looks for them: what has none is encoded at once.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_json


def encoded(value: Any, **options: Any) -> bytes:
    """Return JSON as pydantic writes it, of a value that was mended if it has to be.

    Raises :class:`ValueError` for what is no JSON otherwise.
    """
    try:
        return to_json(value, **options)
    except ValueError:
        return to_json(whole(value), **options)


def whole(value: Any) -> Any:
    """Return what plugins return and clients are sent, with halves joined or replaced."""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping):
        return {whole(key): whole(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [whole(each) for each in value]
    if isinstance(value, BaseModel):
        return value.model_copy(update={name: whole(each) for name, each in value})
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        given = {each.name: whole(getattr(value, each.name)) for each in _given(value)}
        return dataclasses.replace(value, **given)
    return value


def _given(value: Any) -> list["dataclasses.Field[Any]"]:
    return [each for each in dataclasses.fields(value) if each.init]


def _text(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text
