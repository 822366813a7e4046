"""Reads ``config.yaml`` and the environment into :class:`~mcpserve.settings.Settings`.

The only module that reads the settings' environment. Later wins: defaults, the file, the short
names of the environment (``PORT``), ``MCPSERVE_SECTION__KEY``. No message shows a value.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from mcpserve.config_yaml import YAMLError, parse_value, read_file, reason
from mcpserve.errors import ConfigError
from mcpserve.setting_types import NUMBER
from mcpserve.settings import PluginSettings, Settings, did_you_mean, explain

PREFIX = "MCPSERVE_"
NOT_SETTINGS = frozenset({"MCPSERVE_CONFIG", "MCPSERVE_PG_BIN", "MCPSERVE_TEST_DSN"})
SERVICE_LINK = re.compile(
    r"(?!\w*__)\w+_(?:SERVICE_(?:HOST|PORT)\w*=|PORT_\d+_\w+=|PORT=\w+://)", re.ASCII
)
"""What Kubernetes sets in every pod beside a Service called ``mcpserve`` or ``mcpserve-…``."""
REFERENCE = re.compile(r"\$\$|\$\{([^}]*)(\}?)")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


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
"""They describe one client, which is added to ``oauth.clients.configured``."""


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
        draft.problems.append(("oauth.clients.configured", problem))
        return
    client: dict[str, Any] = {name: environ[variable] for name, variable in given.items()}
    client["redirect_uris"] = client["redirect_uris"].replace(",", " ").split()
    oauth = draft.tree.get("oauth") or {}
    section = (oauth.get("clients") or {}) if isinstance(oauth, dict) else None
    configured = (section.get("configured") or []) if isinstance(section, dict) else None
    if not isinstance(section, dict) or not isinstance(configured, list):
        return  # The file is wrong there, which validation reports.
    ids = [other.get("id") if isinstance(other, dict) else None for other in configured]
    index = ids.index(client["id"]) if client["id"] in ids else len(ids)
    clients = [*configured[:index], client, *configured[index + 1 :]]
    draft.tree["oauth"] = {**oauth, "clients": {**section, "configured": clients}}
    key = f"oauth.clients.configured.{index}"
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
        except YAMLError as error:
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
    """Return ``; did you mean 'port'?`` when a setting beside ``loc`` has a name like it.

    Of a plugin, else where its own settings belong.
    """
    kind: Any = Settings
    for part in loc[:-1]:
        fields = getattr(kind, "model_fields", {})
        if part in fields:
            kind = fields[part].annotation
        else:
            kind = next(item for item in get_args(kind) if hasattr(item, "model_fields"))
    hint = did_you_mean(str(loc[-1]), kind.model_fields)
    if kind is PluginSettings and not hint:
        return "; a plugin's own settings stand below its config:"
    return hint


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
    """Return the settings with every path below the folder of the file."""
    update: dict[str, object] = {"data_dir": absolute("data_dir", settings.data_dir, folder)}
    for key in ("plugins_dir", "tools_lock"):
        if path := getattr(settings, key):
            update[key] = str(absolute(key, Path(path), folder))
    return settings.model_copy(update=update)


def absolute(key: str, path: Path, folder: Path) -> Path:
    """Return a path as seen from the folder. Raises :class:`~mcpserve.errors.ConfigError`."""
    try:
        return folder.absolute() / path.expanduser()
    except RuntimeError:
        raise ConfigError(f"{key}: the home directory that ~ means is not known") from None
