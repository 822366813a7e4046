"""``tools.lock``: each tool as the operator reviewed it. One that differs is left out.

Of the operator's own decisions none is pinned: they are in the configuration, which is reviewed.
"""

import asyncio
import contextlib
import difflib
import json
import os
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from mcpserve import changes, discovery, plugins, staging
from mcpserve.bound import Bound
from mcpserve.discovery import Package
from mcpserve.errors import ConfigError, UsageError
from mcpserve.plugins import LoadedPlugins, Unapproved
from mcpserve.settings import Settings
from mcpserve.tools import Tool

LOCK = "mcpserve tools lock"
"""The command that writes the file."""

CODE = frozenset({"distribution", "entry point", "files"})
"""What no client is told."""


class Pin(BaseModel, frozen=True, extra="forbid"):
    """One tool: in plain words what a person judges by, the rest as digests."""

    plugin: str
    distribution: str
    """Its package and version; empty if it is editable or unknown."""
    entry_point: str
    """What of it is the plugin: a module, and maybe an object in it."""
    files: str
    """A digest of all files of the package; empty as above: they may change at any time."""
    scopes: tuple[str, ...]
    """Those that its author asks for."""
    description: tuple[str, ...]
    """Its lines."""
    annotations: dict[str, Any]
    arguments: dict[str, str]
    told: dict[str, str]
    """What else a client is told, aspect by aspect."""


class Lock(BaseModel, frozen=True, extra="forbid"):
    """The whole file."""

    tools: dict[str, Pin]


@dataclass(frozen=True)
class Difference:
    """One thing about a tool that is not as it was pinned."""

    what: str
    lines: tuple[str, ...] = ()
    """The values, as far as they can be shown."""


def lock_path(settings: Settings) -> Path:
    """Return where the pins are. Raises :class:`~mcpserve.errors.ConfigError` if nowhere."""
    if not settings.tools_lock:
        raise ConfigError("tools_lock: not set; tools are pinned with tools_lock: tools.lock")
    return Path(settings.tools_lock)


def read(path: Path) -> dict[str, Pin]:
    """Return the pins by name of the tool. Raises :class:`~mcpserve.errors.ConfigError`."""
    try:
        return Lock.model_validate_json(path.read_bytes()).tools
    except FileNotFoundError:
        problem = f"there is no {path}; to pin the tools as they are now: {LOCK}"
    except OSError as error:
        problem = f"{path} cannot be read: {error.strerror}"
    except ValidationError as error:
        place = ".".join(map(str, error.errors(include_url=False)[0]["loc"]))
        problem = (
            f"{path} is broken{f' at {place}' if place else ''}; "
            f"restore it, or pin the tools as they are now: {LOCK}"
        )
    raise ConfigError(f"tools_lock: {problem}")


def write(path: Path, pins: Mapping[str, Pin]) -> None:
    """Write the file anew, all or nothing. Raises :class:`~mcpserve.errors.UsageError`."""
    tools = {name: pins[name].model_dump(mode="json") for name in sorted(pins)}
    # ASCII, so that no character of a description can hide in a review.
    text = json.dumps({"tools": tools}, indent=2, sort_keys=True) + "\n"
    # Through links: who manages the file elsewhere wants it to stay one.
    path = Path(os.path.realpath(path))
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(text, "ascii")
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None


def approve(path: Path, names: Collection[str], now: Mapping[str, Pin]) -> None:
    """Pin these tools as they are now, or no more; the others stay as somebody else pinned them.

    Raises :class:`~mcpserve.errors.ConfigError` and :class:`~mcpserve.errors.UsageError`.
    """
    with alone(path):
        kept = {name: pin for name, pin in read(path).items() if name not in names}
        write(path, {**kept, **{name: now[name] for name in names if name in now}})


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Wait until nobody else changes the file. Raises :class:`~mcpserve.errors.UsageError`."""
    with contextlib.ExitStack() as exit_stack:
        # Windows cannot open a folder to lock it.
        if sys.platform != "win32":
            try:
                exit_stack.enter_context(staging.alone(Path(os.path.realpath(path)).parent))
            except OSError as error:
                raise UsageError(f"{path} cannot be written: {error.strerror}") from None
        yield


def pins(loaded: LoadedPlugins) -> dict[str, Pin]:
    """Return the tools as they are now."""
    tools = loaded.registry.tools
    names = frozenset(bound.plugin for bound in tools)
    packages = discovery.packages(names, isolated=loaded.isolated)
    return {
        bound.offer.name: pin(bound, packages.get(bound.plugin, discovery.UNKNOWN))
        for bound in tools
    }


def pin(bound: Bound[Tool], package: Package) -> Pin:
    """Return one tool as it is now."""
    told = changes.told(bound.offer)
    return Pin(
        plugin=bound.plugin,
        distribution=package.version if package.files else "",
        entry_point=package.entry_point,
        files=package.files,
        scopes=tuple(sorted(bound.offer.scopes)),
        description=tuple((told.get("description") or "").split("\n")),
        annotations=told.get("annotations", {}),
        arguments={
            name: changes.full_digest(argument)
            for name, argument in told["input_schema"].get("properties", {}).items()
        },
        told={
            aspect.replace("_", " "): changes.full_digest(value)
            for aspect, value in told.items()
            if aspect not in {"description", "annotations"}
        },
    )


def compare(old: Mapping[str, Pin], new: Mapping[str, Pin]) -> dict[str, list[Difference]]:
    """Return what is different, by name of the tool; of one that is new or gone just that."""
    found = {
        name: list(differences(old[name], new[name]))
        if name in old and name in new
        else [Difference("not pinned" if name in new else "no longer there")]
        for name in sorted(old.keys() | new.keys())
    }
    return {name: what for name, what in found.items() if what}


def differences(old: Pin, new: Pin) -> Iterator[Difference]:
    """Say what is different, in people's words."""
    if old.plugin != new.plugin:
        yield Difference("plugin", (f"{old.plugin} → {new.plugin}",))
    if old.description != new.description:
        lines = tuple(difflib.unified_diff(old.description, new.description, n=1, lineterm=""))
        yield Difference("description", lines[2:])  # Without the names of files.
    yield from schema_differences(old, new)
    if old.annotations != new.annotations:
        yield Difference("annotations", tuple(values(old.annotations, new.annotations)))
    for aspect in sorted(old.told.keys() | new.told.keys()):
        if aspect != "input schema" and old.told.get(aspect) != new.told.get(aspect):
            yield Difference(aspect)
    if old.scopes != new.scopes:
        asked = [" ".join(scopes) or "none of its own" for scopes in (old.scopes, new.scopes)]
        yield Difference("scopes", (" → ".join(asked),))
    if old.distribution != new.distribution:
        named = [each or "editable or unknown" for each in (old.distribution, new.distribution)]
        yield Difference("distribution", (" → ".join(named),))
    if old.entry_point != new.entry_point:
        named = [each or "unknown" for each in (old.entry_point, new.entry_point)]
        yield Difference("entry point", (" → ".join(named),))
    if old.files != new.files:
        yield Difference("files", ("the code of its package is not what was pinned",))


def schema_differences(old: Pin, new: Pin) -> Iterator[Difference]:
    """Name the arguments that differ."""
    if old.told.get("input schema") == new.told.get("input schema"):
        return
    lines = [
        f"{'~' if name in old.arguments and name in new.arguments else sign} {name}"
        for name in sorted(old.arguments.keys() | new.arguments.keys())
        if old.arguments.get(name) != new.arguments.get(name)
        for sign in ["+" if name in new.arguments else "-"]
    ]
    yield Difference("arguments", tuple(lines) or ("not one of them, but their schema",))


def values(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """Return what has another value."""
    for name in sorted(old.keys() | new.keys()):
        before, after = (json.dumps(side.get(name)) for side in (old, new))
        if before != after:
            yield f"{name}: {before} → {after}"


def has_to_be_refreshed(different: Mapping[str, Iterable[Difference]]) -> bool:
    """Whether clients that keep their list of tools have to look again."""
    return any(each.what not in CODE for what in different.values() for each in what)


async def load(
    settings: Settings,
    exit_stack: AsyncExitStack,
    find: Callable[[str], object] | None = None,
) -> LoadedPlugins:
    """Load the plugins, and leave out what differs from its pin if tools are pinned.

    Raises as :func:`plugins.load` does, and :class:`~mcpserve.errors.ConfigError` for a file that
    is missing or broken.
    """
    # Before any code of a plugin runs.
    locked = read(lock_path(settings)) if settings.tools_lock else None
    loaded = await plugins.load(settings.plugins, exit_stack, find)
    if locked is None:
        return loaded
    # It reads files, while a server that reloads goes on.
    return await asyncio.to_thread(approved, loaded, locked)


def approved(loaded: LoadedPlugins, locked: Mapping[str, Pin]) -> LoadedPlugins:
    """Return the plugins without the tools that are not as they were pinned."""
    tools = loaded.registry.tools
    different = compare(locked, pins(loaded))
    unapproved = tuple(
        Unapproved(bound, ", ".join(each.what for each in different[bound.offer.name]))
        for bound in tools
        if bound.offer.name in different
    )
    left = tools.without(different)
    return replace(loaded, registry=replace(loaded.registry, tools=left), unapproved=unapproved)
