"""``name=value`` of a command line as arguments of a tool: what a value means, its schema says."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from mcpserve.config_yaml import YAMLError, parse_value
from mcpserve.tools import Tool

TYPES: Mapping[str, tuple[type, ...]] = {
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}
TOLD = {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list, such as [1, 2]",
    "object": 'an object, such as {"a": 1}',
    "null": "null",
}


def arguments(given: Iterable[str], tool: Tool) -> dict[str, Any]:
    """Return the arguments of a call. Raises :class:`ValueError` that names the wrong one."""
    found: dict[str, Any] = {}
    properties: Mapping[str, Any] = tool.input_schema.get("properties", {})
    for item in given:
        name, text = named(item)
        if name not in properties:
            known = ", ".join(properties) or "none"
            raise ValueError(f"--arg {name}: no such argument; {tool.name} has: {known}")
        if name in found:
            raise ValueError(f"--arg {name}: is given twice; write a list as {name}=[a, b]")
        found[name] = value(name, text, types(properties[name], tool.input_schema))
    return found


def named(item: str) -> tuple[str, str]:
    """Return the name of an argument and what was typed. Raises :class:`ValueError`."""
    name, separator, text = item.partition("=")
    if not separator:
        raise ValueError(f"--arg {item}: must be NAME=VALUE")
    return name, text


def value(name: str, text: str, wanted: frozenset[str]) -> Any:
    """Return what the text means: itself where text is taken, else what YAML or JSON reads."""
    if "string" in wanted:
        return text
    try:
        # What only YAML has, such as dates, is text in JSON.
        parsed = json.loads(json.dumps(parse_value(text.strip()), default=str))
    except (YAMLError, ValueError, RecursionError):
        parsed = text
    if wanted and not any(fits(parsed, kind) for kind in wanted):
        told = " or ".join(TOLD[kind] for kind in sorted(wanted))
        raise ValueError(f"--arg {name}: must be {told}, not {text!r}")
    return parsed


def fits(parsed: Any, kind: str) -> bool:
    """Whether a value is of a type of JSON Schema."""
    return isinstance(parsed, TYPES[kind]) and (kind == "boolean" or not isinstance(parsed, bool))


def types(schema: Mapping[str, Any], root: Mapping[str, Any]) -> frozenset[str]:
    """Return the types that a schema takes, by their names in JSON Schema; none: any."""
    if reference := schema.get("$ref"):
        return types(root["$defs"][reference.rpartition("/")[2]], root)
    for union in ("anyOf", "oneOf"):
        if union in schema:
            parts = [types(part, root) for part in schema[union]]
            return frozenset().union(*parts) if all(parts) else frozenset()
    if "type" in schema:
        named = schema["type"]
        return frozenset([named] if isinstance(named, str) else named)
    values = schema.get("enum", [schema["const"]] if "const" in schema else [])
    return frozenset(kind_of(item) for item in values)


def kind_of(item: Any) -> str:
    """Return the type of a value by its name in JSON Schema."""
    return next((kind for kind in TYPES if fits(item, kind)), "string")
