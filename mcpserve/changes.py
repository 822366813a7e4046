"""What differs between two configurations of a server, and what that takes from grants."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from mcpserve.bound import Bound
from mcpserve.config import leaves, within
from mcpserve.config_report import shown
from mcpserve.registry import Registry
from mcpserve.settings import Settings

AT_START = (
    "server.host",
    "server.port",
    "server.processes",
    "data_dir",
    "plugins_dir",
    "database",
    "tracing",
)
"""What takes effect at the next start only."""

FROZEN = frozenset(
    {"title", "description", "input schema", "output schema", "annotations", "icons", "meta"}
)
"""What some clients keep until a person lets them look again (ChatGPT)."""


class Served(BaseModel):
    """One thing that is offered, as far as a change of it is of interest."""

    kind: str
    name: str
    plugin: str
    aliases: list[str]
    scopes: list[str]
    timeout: float
    told: dict[str, str]
    """What a client is told, aspect by aspect, as digests."""

    @property
    def key(self) -> str:
        """Kind and name."""
        return f"{self.kind} {self.name}"


def served(registry: Registry) -> list[Served]:
    """Return everything that is offered."""
    offers = (*registry.tools, *registry.resources, *registry.prompts)
    return [describe(bound) for bound in offers]


def describe(bound: Bound[Any]) -> Served:
    """Return what there is to know of an offer."""
    return Served(
        kind=bound.offer.kind,
        name=bound.offer.name,
        plugin=bound.plugin,
        aliases=list(bound.aliases),
        scopes=sorted(bound.scopes),
        timeout=bound.timeout,
        told={
            aspect.replace("_", " "): full_digest(value)[:16]
            for aspect, value in told(bound.offer).items()
        },
    )


def told(offer: Any) -> dict[str, Any]:
    """Return what a client is told of an offer beside its name, aspect by aspect."""
    definition: dict[str, Any] = offer.definition.model_dump(mode="json", exclude_none=True)
    return {aspect: value for aspect, value in definition.items() if aspect != "name"}


def full_digest(value: object) -> str:
    """Return a text that differs when the value does, even if somebody wants it not to."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Changes:
    """What is different in what is offered."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: Mapping[str, tuple[str, ...]]
    """What of it."""

    @property
    def has_to_be_refreshed(self) -> bool:
        """Whether clients that keep their list of tools know something else now."""
        changed = any(FROZEN & set(what) for what in self.changed.values())
        return bool(self.added or self.removed or changed)

    def lines(self) -> list[str]:
        """Say it, a line for each."""
        return [
            *(f"+ {name}" for name in self.added),
            *(f"- {name}" for name in self.removed),
            *(f"~ {name}: {', '.join(what)}" for name, what in self.changed.items()),
        ]


def compare(before: Iterable[Served], after: Iterable[Served]) -> Changes:
    """Return what is different."""
    old, new = ({each.key: each for each in offers} for offers in (before, after))
    changed = {key: tuple(differences(old[key], new[key])) for key in new if key in old}
    return Changes(
        added=tuple(key for key in new if key not in old),
        removed=tuple(key for key in old if key not in new),
        changed={key: what for key, what in changed.items() if what},
    )


def differences(old: Served, new: Served) -> Iterator[str]:
    """Name what is different, with the values if they are short."""
    for aspect in sorted(old.told.keys() | new.told.keys()):
        if old.told.get(aspect) != new.told.get(aspect):
            yield aspect
    if old.plugin != new.plugin:
        yield f"plugin {old.plugin} → {new.plugin}"
    if old.scopes != new.scopes:
        yield f"scopes {words(old.scopes)} → {words(new.scopes)}"
    if old.timeout != new.timeout:
        yield f"timeout {old.timeout:g} s → {new.timeout:g} s"
    if old.aliases != new.aliases:
        yield f"aliases {' '.join(old.aliases) or 'none'} → {' '.join(new.aliases) or 'none'}"


def words(scopes: Sequence[str]) -> str:
    """Name the scopes that something needs."""
    return " ".join(scopes) or "none (open to everybody)"


def changed_settings(old: Settings, new: Settings) -> dict[str, str]:
    """Return the key path of each setting that differs, with both values.

    Secrets are masked; which of a plugin's own settings are some, is not known.
    """
    before, after = (
        dict(leaves(settings.model_dump(exclude_defaults=True))) for settings in (old, new)
    )
    return {
        key: "changed" if ".config." in key else f"{value_of(before, key)} → {value_of(after, key)}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key, ...) != after.get(key, ...) and not has_leaves(key, before, after)
    }


def has_leaves(key: str, *trees: Mapping[str, object]) -> bool:
    """Whether a key is an empty section on one side and has settings on the other."""
    return any(within(other, key) for tree in trees if key not in tree for other in tree)


def value_of(tree: Mapping[str, object], key: str) -> str:
    """Return a value as it may be shown."""
    return shown(key, tree[key]) if key in tree else "not set"


def at_start(keys: Iterable[str]) -> list[str]:
    """Return those of the settings that take effect at the next start."""
    return [key for key in keys if any(within(key, section) for section in AT_START)]


def until_start(new: Settings, running: Settings) -> Settings:
    """Return the new settings with those of the running server that only a start can change."""
    names = ("host", "port", "processes")
    address = {name: getattr(running.server, name) for name in names}
    kept = {name: getattr(running, name) for name in AT_START if "." not in name}
    return new.model_copy(update={"server": new.server.model_copy(update=address), **kept})
