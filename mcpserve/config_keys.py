"""The settings of a plugin's own, one by one, as the JSON Schema of its ``config:`` has them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

Schema = Mapping[str, Any]

DEEPEST = 4
"""How far a type is told: it may be made of itself."""


class Quiet(GenerateJsonSchema):
    """Leaves out what JSON cannot say, such as a default that is an object of Python."""

    ignored_warning_kinds = frozenset({"skipped-choice", "non-serializable-default"})  # type: ignore[assignment]


def config_schema(plugin: str, model: type[BaseModel]) -> dict[str, Any] | None:
    """Return the JSON Schema of a plugin's ``config:``; ``None`` if there is none for its types.

    Its definitions are called after the plugin, so that those of several go together.
    """
    template = f"#/$defs/{plugin}.{{model}}"
    try:
        schema = model.model_json_schema(ref_template=template, schema_generator=Quiet)
    except Exception:  # Types may come with code of their own for this.
        return None
    if definitions := schema.pop("$defs", None):
        schema["$defs"] = {f"{plugin}.{title}": each for title, each in definitions.items()}
    return schema


@dataclass(frozen=True)
class Key:
    """One setting."""

    key: str
    """Its path below ``config``."""
    type: str
    """In the words of JSON Schema: ``integer``, ``array of string or null``."""
    required: bool
    default: Any
    """``None`` also if it has none, or one that is computed."""
    secret: bool
    description: str


def keys(schema: Schema) -> Iterator[Key]:
    """Yield every setting; those of a section in its place."""
    yield from below(schema, schema, prefix="", around=())


def below(section: Schema, root: Schema, *, prefix: str, around: tuple[Any, ...]) -> Iterator[Key]:
    """Yield the settings of a section that stands in no other like it."""
    for name, given in section.get("properties", {}).items():
        found = section_of(given, root)
        inner = found.get("properties")
        if inner is None or "anyOf" in given:
            yield key_of(prefix + name, given, section, root)
        if inner and inner not in around:
            yield from below(found, root, prefix=f"{prefix}{name}.", around=(*around, inner))


def section_of(given: Schema, root: Schema) -> Schema:
    """Return what a setting is made of; of one that may be null too, what it is otherwise."""
    parts = [part for part in given.get("anyOf", ()) if part.get("type") != "null"]
    return resolved(parts[0] if len(parts) == 1 else given, root)


def key_of(key: str, given: Schema, section: Schema, root: Schema) -> Key:
    """Return one setting."""
    found = section_of(given, root)
    return Key(
        key=key,
        type=type_of(given, root),
        required=key.rpartition(".")[2] in section.get("required", ()),
        default=given.get("default"),
        secret=is_secret(found),
        description=given.get("description") or found.get("description", ""),
    )


def resolved(schema: Schema, root: Schema) -> Schema:
    """Return what a reference stands for; nothing is known of one that leads nowhere."""
    reference = schema.get("$ref")
    if reference is None:
        return schema
    found: Schema = root.get("$defs", {}).get(reference.removeprefix("#/$defs/"), {})
    return found


def is_secret(schema: Schema) -> bool:
    """Whether the author declared it as one: pydantic marks ``SecretStr`` so, alone or not."""
    parts = schema.get("anyOf", ())
    return bool(schema.get("writeOnly")) or any(is_secret(part) for part in parts)


def type_of(schema: Schema, root: Schema, depth: int = 0) -> str:
    """Return the type of a setting in words."""
    if depth > DEEPEST:
        return "anything"
    schema = resolved(schema, root)
    for union in ("anyOf", "oneOf"):
        if union in schema:
            parts = (type_of(part, root, depth + 1) for part in schema[union])
            return " or ".join(dict.fromkeys(parts))
    if values := schema.get("enum", [schema["const"]] if "const" in schema else []):
        return " or ".join(map(str, values))
    kind = schema.get("type", "anything")
    if kind == "array" and schema.get("items"):
        return f"array of {type_of(schema['items'], root, depth + 1)}"
    return str(kind)


def with_defaults(
    given: Mapping[str, Any], schema: Schema, root: Schema | None = None
) -> dict[str, Any]:
    """Return a plugin's config with the defaults of what it leaves out."""
    root = root or schema
    filled = dict(given)
    for name, each in schema.get("properties", {}).items():
        section = resolved(each, root)
        if name not in given and name in schema.get("required", ()):
            continue
        inside = given.get(name, each.get("default", {}))
        if "properties" in section and isinstance(inside, Mapping):
            filled[name] = with_defaults(inside, section, root)
        elif "default" in each:
            filled.setdefault(name, each["default"])
    return filled
