"""JSON of strangers: read only if every reader would read the same."""

import json
from collections.abc import Iterable
from typing import Any


def loads(text: str) -> Any:
    """Return what a JSON text says.

    Raises :class:`ValueError` for what is no JSON, a member that is there twice, NaN and infinity,
    half a character, and what is nested too deeply.
    """
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
        # What came in as an escape may still be half a character.
        json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return value


def _object(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            raise ValueError("a member is there twice")
        members[name] = value
    return members


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
