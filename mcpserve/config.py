"""Reads ``config.yaml`` and the environment into :class:`~mcpserve.settings.Settings`.

The only module that reads ``os.environ`` and YAML. Later wins: defaults, the file, the short names
of the environment (``PORT``), ``MCPSERVE_SECTION__KEY``. No message shows the value of a setting.
"""

import difflib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from yaml.composer import ComposerError
from yaml.constructor import ConstructorError
from yaml.reader import ReaderError

from mcpserve.errors import ConfigError
from mcpserve.settings import NUMBER, Settings, explain

PREFIX = "MCPSERVE_"
NOT_SETTINGS = frozenset({"MCPSERVE_CONFIG", "MCPSERVE_PG_BIN", "MCPSERVE_TEST_DSN"})
SERVICE_LINK = re.compile(
    r"(?!\w*__)\w+_(?:SERVICE_(?:HOST|PORT)\w*=|PORT_\d+_\w+=|PORT=\w+://)", re.ASCII
)
"""What Kubernetes sets in every pod beside a Service called ``mcpserve`` or ``mcpserve-…``."""
REFERENCE = re.compile(r"\$\$|\$\{([^}]*)(\}?)")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
PRIVATE_WORDS = r"(?:auth|cookie|credential|key|passw|secret|token)"
PRIVATE_NAME = re.compile(PRIVATE_WORDS, re.IGNORECASE)
PRIVATE_TEXT = re.compile(
    rf"(?<=://)[^\s?#]+(?=@)|(?P<name>{PRIVATE_WORDS}[\w-]*=)[^\s&#]+", re.IGNORECASE
)
"""The user and password of a URL, ``?api_key=…``, ``password=…``."""
MASK = "**********"
ANNOTATIONS = frozenset({"title", "description", "default", "examples"})
"""What a JSON Schema says without restricting anything."""


@dataclass(frozen=True)
class Loaded:
    """The settings, and where they come from."""

    settings: Settings
    path: Path | None
    """The file that was read."""
    sources: Mapping[str, str]
    """Key path to ``config.yaml`` or ``environment PORT``; what is absent has its default."""


@dataclass(frozen=True)
class Draft:
    """The configuration while it is put together."""

    tree: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    problems: list[tuple[str, str]] = field(default_factory=list)
    """Key path and what is wrong there."""


def load(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Loaded:
    """Read the file (``path``, else ``$MCPSERVE_CONFIG``, else ``./config.yaml`` if there is one).

    Raises :class:`~mcpserve.errors.ConfigError` with one line for each problem.
    """
    environ = os.environ if environ is None else environ
    path = find(path, environ)
    folder = path.parent if path else Path()
    draft = Draft()
    if path:
        add_file(draft, path, environ)
    add_short_names(draft, environ)
    add_client(draft, environ)
    add_long_names(draft, environ)
    settings = validate(draft)
    return Loaded(with_absolute_paths(settings, folder), path, draft.sources)


def find(path: Path | None, environ: Mapping[str, str]) -> Path | None:
    """Return the file to read, or None. One that somebody named must exist."""
    if path:
        return path
    if named := environ.get("MCPSERVE_CONFIG"):
        if not Path(named).exists():
            raise ConfigError(f"{named}: there is no such file (environment MCPSERVE_CONFIG)")
        return Path(named)
    usual = Path("config.yaml")
    return usual if usual.exists() else None


def add_file(draft: Draft, path: Path, environ: Mapping[str, str]) -> None:
    """Add what the file says, with its references resolved."""
    resolve = partial(resolved, draft.problems, environ, path.parent)
    # A copy: what YAML shares by an alias must not change together.
    draft.tree.update(expanded(read_file(path), "", resolve))
    note(draft.sources, "", draft.tree, source=path.name)


def read_file(path: Path) -> dict[str, Any]:
    """Return the mapping that the file holds."""
    try:
        text = path.read_text("utf-8-sig")
        document = parse_yaml(text)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8 text") from None
    except yaml.YAMLError as error:
        line, column = position(error, text)
        raise ConfigError(f"{path}:{line}:{column}: {reason(error)}") from None
    if not isinstance(document, dict | None):
        raise ConfigError(f"{path}: must be a mapping of sections")
    return document or {}


class Loader(yaml.SafeLoader):
    """Refuses a key that is there twice, and reports every problem as a ``YAMLError``."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Compare the keys here, before ``<<`` mixes in those of another mapping."""
        node = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in lines:
                problem = f"the key {key.value!r} is already in line {lines[key.value] + 1}"
                raise ComposerError(None, None, problem, key.start_mark)
            lines[key.value] = key.start_mark.line
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Turn what PyYAML lets out for ``2026-02-30``, ``!!int x`` or ``!!bool x``."""
        try:
            return super().construct_object(node, deep)
        except (AttributeError, LookupError, ValueError):
            kind = node.tag.rpartition(":")[2]
            problem = f"not a valid {kind}; put text in quotes"
            raise ConstructorError(None, None, problem, node.start_mark) from None


def parse_yaml(text: str) -> Any:
    """Return what the text says. Raises ``yaml.YAMLError``."""
    loader = Loader(text)
    try:
        node = loader.get_single_node()
        # Deep: at once, which refuses a collection that contains itself.
        return loader.construct_object(node, deep=True) if node else None
    finally:
        loader.dispose()


def parse_value(text: str) -> Any:
    """Return ``[…]``, ``{…}`` and quoted text as YAML reads them, and the rest as one scalar.

    So a password with ``: `` or `` #`` in it needs no quotes. Raises ``yaml.YAMLError``.
    """
    if text.startswith(("[", "{", '"', "'")):
        return parse_yaml(text)
    loader = Loader("")
    tag = loader.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
    return loader.construct_object(yaml.ScalarNode(tag, text))


def position(error: yaml.YAMLError, text: str) -> tuple[int, int]:
    """Return line and column, both from 1."""
    if isinstance(error, ReaderError):
        before = text[: error.position]
        return before.count("\n") + 1, len(before) - before.rfind("\n")
    mark = getattr(error, "problem_mark", None)
    return (mark.line + 1, mark.column + 1) if mark else (1, 1)


def reason(error: yaml.YAMLError) -> str:
    """Return the problem in one line. PyYAML quotes a part of the value in two cases."""
    if isinstance(error, ReaderError):
        return str(error.reason)
    problem = str(getattr(error, "problem", ""))
    if problem.startswith(("found undefined", "could not determine")):
        return "no such alias or tag; put text that starts with * or ! in quotes"
    return problem.removeprefix("but ")


def expanded(value: Any, key: str, resolve: Callable[[str, re.Match[str]], str]) -> Any:
    """Return a copy in which each reference in each string is what ``resolve`` says."""
    match value:
        case str():
            return REFERENCE.sub(partial(resolve, key), value)
        case dict():
            return {name: expanded(item, below(key, name), resolve) for name, item in value.items()}
        case list():
            return [expanded(item, below(key, i), resolve) for i, item in enumerate(value)]
    return value


def resolved(
    problems: list[tuple[str, str]],
    environ: Mapping[str, str],
    folder: Path,
    key: str,
    reference: re.Match[str],
) -> str:
    """Return what ``${NAME}``, ``${NAME:-default}``, ``${file:PATH}`` or ``$$`` stands for."""
    if reference[0] == "$$":
        return "$"
    inside, closed = reference.groups()
    name, has_default, default = inside.partition(":-")
    problem = ""
    if closed and inside.startswith("file:"):
        path = folder / inside.removeprefix("file:")
        try:
            return path.read_text("utf-8").removesuffix("\n")
        except OSError as error:
            problem = f"cannot read {path}: {error.strerror}"
        except UnicodeDecodeError:
            problem = f"cannot read {path}: it is not UTF-8 text"
    elif not closed or not VARIABLE.fullmatch(name):
        problem = "${ begins ${NAME}, ${NAME:-default} or ${file:PATH}; write $${ for the text"
    elif environ.get(name) or (name in environ and not has_default):
        return environ[name]
    elif has_default:
        return default
    else:
        problem = f"environment variable {name} is not set"
    problems.append((key, problem))
    return ""


def comma_separated(text: str) -> list[str]:
    """Return the words between the commas."""
    return [word.strip() for word in text.split(",") if word.strip()]


def minutes(text: str) -> str:
    """Return a number of minutes as a duration."""
    if not re.fullmatch(NUMBER, text.strip()):
        raise ValueError("must be a number of minutes")
    return f"{text.strip()}m"


SHORT_NAMES: Mapping[str, tuple[str, Callable[[str], object]]] = {
    "BASE_URL": ("server.public_url", str),
    "PORT": ("server.port", str),
    "DATABASE_URL": ("database.url", str),
    "MCP_ALLOWED_HOSTS": ("mcp.allowed_hosts", comma_separated),
    "MCP_ALLOWED_ORIGINS": ("mcp.allowed_origins", comma_separated),
    "CORS_ORIGINS": ("cors.origins", comma_separated),
    "ENABLE_CLEANUP_JOB": ("cleanup.enabled", str),
    "CLEANUP_INTERVAL_MINUTES": ("cleanup.interval", minutes),
}
"""Variables that operators know from other servers. An empty one counts as not set."""
CLIENT_NAMES = {
    "id": "AUTO_SEED_CLIENT_ID",
    "name": "AUTO_SEED_CLIENT_NAME",
    "secret": "AUTO_SEED_CLIENT_SECRET",
    "redirect_uris": "AUTO_SEED_REDIRECT_URIS",
}
"""They describe one client, which is added to ``oauth.clients``."""


def add_short_names(draft: Draft, environ: Mapping[str, str]) -> None:
    """Add what stands in the variables of :data:`SHORT_NAMES`."""
    for variable, (key, parse) in SHORT_NAMES.items():
        if text := environ.get(variable):
            try:
                put(draft, key.split("."), parse(text), variable=variable)
            except ValueError as error:
                draft.problems.append((key, f"{error} (environment {variable})"))


def add_client(draft: Draft, environ: Mapping[str, str]) -> None:
    """Add the client of :data:`CLIENT_NAMES`, in place of one with the same id."""
    given = {name: variable for name, variable in CLIENT_NAMES.items() if environ.get(variable)}
    missing = [CLIENT_NAMES[name] for name in ("id", "redirect_uris") if name not in given]
    if not given:
        return
    if missing:
        problem = f"{' and '.join(missing)} must be set, because {next(iter(given.values()))} is"
        draft.problems.append(("oauth.clients", problem))
        return
    client: dict[str, Any] = {name: environ[variable] for name, variable in given.items()}
    client["redirect_uris"] = client["redirect_uris"].replace(",", " ").split()
    oauth = draft.tree.get("oauth") or {}
    configured = (oauth.get("clients") or []) if isinstance(oauth, dict) else None
    if not isinstance(configured, list):
        return  # The file is wrong there, which validation reports.
    ids = [other.get("id") if isinstance(other, dict) else None for other in configured]
    index = ids.index(client["id"]) if client["id"] in ids else len(ids)
    clients = [*configured[:index], client, *configured[index + 1 :]]
    draft.tree["oauth"] = {**oauth, "clients": clients}
    key = f"oauth.clients.{index}"
    note(draft.sources, key, {}, source="")
    for name, variable in given.items():
        draft.sources[f"{key}.{name}"] = f"environment {variable}"


def add_long_names(draft: Draft, environ: Mapping[str, str]) -> None:
    """Add ``MCPSERVE_SECTION__KEY``; a name that is no setting fails validation like any key."""
    for variable, text in sorted(environ.items()):
        if not text or not variable.startswith(PREFIX) or variable in NOT_SETTINGS:
            continue
        if SERVICE_LINK.match(f"{variable}={text}"):
            continue
        path = variable.removeprefix(PREFIX).lower().split("__")
        try:
            put(draft, path, parse_value(text), variable=variable)
        except yaml.YAMLError as error:
            draft.problems.append((".".join(path), f"{reason(error)} (environment {variable})"))


def put(draft: Draft, path: Sequence[str], value: object, *, variable: str) -> None:
    """Set one value, making the sections above it where they are missing."""
    key = ".".join(path)
    section: Any = draft.tree
    for parent in path[:-1]:
        if section.get(parent) is None:
            section[parent] = {}
        section = section[parent]
        if not isinstance(section, dict):
            draft.problems.append((key, f"{parent} has no keys (environment {variable})"))
            return
    section[path[-1]] = value
    note(draft.sources, key, value, source=f"environment {variable}")


def note(sources: dict[str, str], key: str, value: object, *, source: str) -> None:
    """Remember where the value at ``key``, whole, comes from."""
    for known in [known for known in sources if within(known, key)]:
        del sources[known]
    sources.update(
        {leaf: source for leaf, content in leaves(value, key) if content not in (None, {})}
    )


def leaves(value: object, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every key path with a value of its own. A list of plain values is one value."""
    children: Iterable[tuple[object, object]] = ()
    if isinstance(value, dict):
        children = value.items()
    elif isinstance(value, list | tuple) and any(
        isinstance(item, dict | list | tuple) for item in value
    ):
        children = enumerate(value)
    if not children:
        yield key, value
    for name, item in children:
        yield from leaves(item, below(key, name))


def below(key: str, name: object) -> str:
    """Return the key path of ``name`` below ``key``."""
    return f"{key}.{name}" if key else str(name)


def within(key: str, section: str) -> bool:
    """Whether a key path is the section or below it."""
    return not section or f"{key}.".startswith(f"{section}.")


def validate(draft: Draft) -> Settings:
    """Return the settings, or raise all problems."""
    lines = [f"{key}: {problem}" for key, problem in draft.problems]
    try:
        settings = Settings.model_validate(draft.tree)
    except ValidationError as error:
        known = {key for key, _ in draft.problems}
        for line, problem in zip(explain(error), error.errors(include_input=False), strict=True):
            key = ".".join(str(part) for part in problem["loc"])
            if key not in known:
                hint = suggestion(problem["loc"]) if problem["type"] == "extra_forbidden" else ""
                lines.append(f"{line}{hint}{origin(draft.sources, key, line)}")
    if lines:
        raise ConfigError("\n".join(lines))
    return settings


def suggestion(loc: Sequence[int | str]) -> str:
    """Return ``; did you mean 'port'?`` when a setting beside ``loc`` has a name like it."""
    kind: Any = Settings
    for part in loc[:-1]:
        fields = getattr(kind, "model_fields", {})
        if part in fields:
            kind = fields[part].annotation
        else:
            kind = next(item for item in get_args(kind) if hasattr(item, "model_fields"))
    near = difflib.get_close_matches(str(loc[-1]).lower(), kind.model_fields, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def origin(sources: Mapping[str, str], key: str, line: str) -> str:
    """Return the variables that a problem at ``key`` may come from, in parentheses.

    A rule about a whole section (``key``) names the settings that it compares.
    """
    names = {
        source
        for leaf, source in sources.items()
        if source.startswith("environment ")
        and (
            within(key, leaf)
            or (within(leaf, key) and re.search(rf"\b{re.escape(leaf.rpartition('.')[2])}\b", line))
        )
    }
    return f" ({', '.join(sorted(names))})" if names else ""


def with_absolute_paths(settings: Settings, folder: Path) -> Settings:
    """Return the settings with ``data_dir`` below the folder of the file."""
    try:
        data_dir = folder.absolute() / settings.data_dir.expanduser()
    except RuntimeError:
        raise ConfigError("data_dir: the home directory that ~ means is not known") from None
    return settings.model_copy(update={"data_dir": data_dir})


def effective(loaded: Loaded) -> str:
    """Return every setting as ``key: value   # source``, without secrets."""
    return "\n".join(
        f"{key}: {shown(key, value)}   # {loaded.sources.get(key, 'default')}"
        for key, value in leaves(loaded.settings.model_dump())
    )


def shown(key: str, value: object) -> str:
    """Return a value as JSON. What is declared secret, or sounds like it, is masked."""
    plugin, _, name = key.partition(".config.")
    if value and plugin.startswith("plugins.") and PRIVATE_NAME.search(name):
        value = MASK
    return json.dumps(masked(value), ensure_ascii=False, default=str)


def masked(value: object) -> object:
    """Return text, or a list of texts, without the secrets that can be seen in it."""
    if isinstance(value, list | tuple):
        return [masked(item) for item in value]
    if not isinstance(value, str):
        return value
    return PRIVATE_TEXT.sub(lambda found: (found["name"] or "") + MASK, value)


def json_schema(plugin_models: Mapping[str, type[BaseModel]] | None = None) -> dict[str, Any]:
    """Return the JSON Schema of ``config.yaml``, with the config model of each plugin in place."""
    schema = accepting_empty_sections(Settings.model_json_schema())
    definitions = schema["$defs"]
    entry = definitions["PluginSettings"]
    entries = {}
    for name, model in (plugin_models or {}).items():
        config = model.model_json_schema(ref_template=f"#/$defs/{name}.{{model}}")
        for title, definition in config.pop("$defs", {}).items():
            definitions[f"{name}.{title}"] = definition
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
