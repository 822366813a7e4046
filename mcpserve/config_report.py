"""What can be said of the configuration: every setting without its secrets, and the JSON Schema."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from mcpserve.config import Loaded, leaves, within
from mcpserve.config_keys import Schema, keys, with_defaults
from mcpserve.settings import Settings

PRIVATE_WORDS = r"(?:auth|cookie|credential|key|passw|secret|token)"
PRIVATE_NAME = re.compile(PRIVATE_WORDS, re.IGNORECASE)
PRIVATE_TEXT = re.compile(
    rf"(?<=://)[^\s?#]+(?=@)|(?P<name>{PRIVATE_WORDS}[\w-]*=)[^\s&#]+", re.IGNORECASE
)
"""The user and password of a URL, ``?api_key=…``, ``password=…``."""
MASK = "**********"
ANNOTATIONS = frozenset({"title", "description", "default", "examples"})
"""What a JSON Schema says without restricting anything."""


def effective(loaded: Loaded, schemas: Mapping[str, Schema] | None = None) -> str:
    """Return every setting as ``key: value   # source``, without secrets.

    Of a plugin with a schema here its own defaults too.
    """
    tree = loaded.settings.model_dump()
    secret: set[str] = set()
    for name, schema in (schemas or {}).items():
        plugin = tree["plugins"][name]
        plugin["config"] = with_defaults(plugin["config"], schema)
        secret |= {f"plugins.{name}.config.{each.key}" for each in keys(schema) if each.secret}
    return "\n".join(
        f"{key}: {shown(key, value, is_secret=any(within(key, each) for each in secret))}"
        f"   # {loaded.sources.get(key, 'default')}"
        for key, value in leaves(tree)
    )


def shown(key: str, value: object, *, is_secret: bool = False) -> str:
    """Return a value as JSON. What is declared secret, or sounds like it, is masked."""
    return json.dumps(visible(key, value, is_secret=is_secret), ensure_ascii=False, default=str)


def visible(key: str, value: object, *, is_secret: bool = False) -> object:
    """Return a value as it may be seen."""
    plugin, _, name = key.partition(".config.")
    sounds_so = plugin.startswith("plugins.") and PRIVATE_NAME.search(name)
    return MASK if value and (is_secret or sounds_so) else masked(value)


def masked(value: object) -> object:
    """Return text, or a list of texts, without the secrets that can be seen in it."""
    if isinstance(value, list | tuple):
        return [masked(item) for item in value]
    if not isinstance(value, str):
        return value
    return PRIVATE_TEXT.sub(lambda found: (found["name"] or "") + MASK, value)


def json_schema(
    plugin_schemas: Mapping[str, Schema] | None = None, others: Iterable[str] = ()
) -> dict[str, Any]:
    """Return the JSON Schema of ``config.yaml``, with that of each plugin's config in its place.

    ``others`` are names of plugins of which no more is known.
    """
    schema = accepting_empty_sections(Settings.model_json_schema())
    definitions = schema["$defs"]
    entry = definitions["PluginSettings"]
    entries: dict[str, Any] = {name: {"$ref": "#/$defs/PluginSettings"} for name in others}
    for name, plugin in (plugin_schemas or {}).items():
        config = dict(plugin)
        definitions |= config.pop("$defs", {})
        # Not a $ref with `config` beside it: editors read that in different ways.
        entries[name] = {
            **entry,
            "title": name,
            "properties": entry["properties"] | {"config": config},
        }
        if config.get("required"):
            entries[name] |= {"type": "object", "required": ["config"]}
    schema["properties"]["plugins"]["properties"] = entries
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **accepting_references(schema),
        "title": "config.yaml of mcpserve",
    }


def accepting_empty_sections(schema: dict[str, Any]) -> dict[str, Any]:
    """Allow null where a section, a mapping or a list may be left empty."""
    for section in (schema, *schema["$defs"].values()):
        section["type"] = ["object", "null"]
        for setting in section["properties"].values():
            if "default" in setting and setting.get("type") in ("object", "array"):
                setting["type"] = [setting["type"], "null"]
    return schema


def accepting_references(schema: Any) -> Any:
    """Allow ``${NAME}`` where something else than any text is expected."""
    if isinstance(schema, list):
        return [accepting_references(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {
        name: item if name in ANNOTATIONS else accepting_references(item)
        for name, item in schema.items()
    }
    # By the kind of the value too: a setting may be called `format`.
    if schema.get("type") not in ("integer", "number", "boolean") and not any(
        isinstance(schema.get(rule), str | list) for rule in ("const", "enum", "format", "pattern")
    ):
        return schema
    rules = {name: schema.pop(name) for name in list(schema) if name not in ANNOTATIONS}
    return {**schema, "anyOf": [rules, {"type": "string", "pattern": r"\$\{"}]}
