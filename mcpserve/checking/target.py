"""Finding what is to be checked, without importing it."""

import ast
import importlib.machinery
import importlib.metadata
import importlib.util
import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from mcpserve.discovery import Installed
from mcpserve.errors import UsageError
from mcpserve.hooks import PROJECT

REQUIREMENT = re.compile(r"\s*([A-Za-z0-9._-]+)")


@dataclass(frozen=True)
class Package:
    """What the metadata of a package say."""

    name: str
    version: str
    summary: str
    readme: str
    requires: tuple[str, ...]
    """Names only, normalized."""


@dataclass(frozen=True)
class Target:
    """A plugin that is to be checked."""

    name: str
    """What it is called in config.yaml."""
    value: str
    """``module`` or ``module:attribute``, as in an entry point."""
    folder: Path | None
    """What must be on the path for it to be found, if it is not installed."""
    package: Package | None
    is_entry_point: bool

    @property
    def module(self) -> str:
        """The module that holds the plugin."""
        return self.value.partition(":")[0].strip()

    @property
    def root(self) -> Path | None:
        """The plugin's package, or its only file; ``None`` if it is not there."""
        top = self.module.partition(".")[0]
        if self.folder is not None:
            folder, file = self.folder / top, self.folder / f"{top}.py"
            return folder if folder.is_dir() else file if file.is_file() else None
        # What comes with the server is a module in a package that is no plugin.
        found = _spec(self.module if top == PROJECT else top)
        if found is None or found.origin is None:
            return None
        origin = Path(found.origin)
        return origin.parent if origin.name == "__init__.py" else origin

    @property
    def files(self) -> Sequence[Path]:
        """The plugin's modules, in a fixed order."""
        root = self.root
        if root is None:
            return ()
        return sorted(root.rglob("*.py")) if root.is_dir() else [root]


def _spec(module: str) -> importlib.machinery.ModuleSpec | None:
    try:
        return importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None


def normalized(name: str) -> str:
    """Return the name of a distribution as it is compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


def required(requirements: Sequence[str]) -> tuple[str, ...]:
    """Return the names in requirements."""
    found = (REQUIREMENT.match(requirement) for requirement in requirements)
    return tuple(normalized(match[1]) for match in found if match)


def find(name_or_path: str, available: Sequence[Installed]) -> list[Target]:
    """Return the plugins that are meant: a name of one, a distribution's, or a path.

    Raises :class:`~mcpserve.errors.UsageError` if there is none, or more than one package.
    """
    offers = [found for found in available if found.name == name_or_path] or [
        found for found in available if normalized(found.distribution) == normalized(name_or_path)
    ]
    if len({found.distribution for found in offers}) > 1:
        names = ", ".join(sorted(found.distribution for found in offers))
        raise UsageError(f"{names} provide {name_or_path}; uninstall all but one")
    if offers:
        return [installed_target(found) for found in offers]
    path = Path(name_or_path).absolute()
    if path.exists():
        return targets_at(path)
    known = ", ".join(sorted({found.name for found in available})) or "none"
    raise UsageError(
        f"{name_or_path} is neither an installed plugin ({known}), nor a package with one, nor a "
        "path"
    )


def installed_target(found: Installed) -> Target:
    """Return an installed plugin with its package's metadata."""
    distribution = importlib.metadata.distribution(found.distribution)
    folder = editable_folder(distribution)
    project = read_project(folder) if folder else {}
    # The metadata of an editable install are as old as that.
    package = package_in(folder, project) if folder and project else metadata_of(distribution)
    return Target(found.name, found.entry_point.value, None, package, is_entry_point=True)


def editable_folder(distribution: Distribution) -> Path | None:
    """Return where the project of an editable install is (PEP 610)."""
    origin = json.loads(distribution.read_text("direct_url.json") or "{}")
    if not origin.get("dir_info", {}).get("editable"):
        return None
    folder = Path(url2pathname(urlsplit(origin["url"]).path))
    return folder if (folder / "pyproject.toml").is_file() else None


def metadata_of(distribution: Distribution) -> Package:
    """Return what an installed package says of itself."""
    said = distribution.metadata.json
    return Package(
        name=distribution.name,
        version=distribution.version or "",
        summary=str(said.get("summary", "")),
        readme=str(said.get("description", "")),
        requires=required(distribution.requires or ()),
    )


def targets_at(path: Path) -> list[Target]:
    """Return the plugins at a path: a project's, a package or a single file.

    Raises :class:`~mcpserve.errors.UsageError` for anything else.
    """
    if (path / "pyproject.toml").is_file():
        targets = list(project_targets(path))
        if not targets:
            raise UsageError(
                f"{path / 'pyproject.toml'} has no [project.entry-points.{PROJECT}]; name the "
                "folder of the package instead, or install it and name the package"
            )
        return targets
    if path.name == "__init__.py":
        path = path.parent
    if path.suffix == ".py" or (path / "__init__.py").is_file():
        return [file_target(path)]
    raise UsageError(f"{path} is no Python module, no package, and has no pyproject.toml")


def project_targets(folder: Path) -> Iterator[Target]:
    """Yield the plugins that a project declares."""
    project = read_project(folder)
    for name, value in project.get("entry-points", {}).get(PROJECT, {}).items():
        yield Target(name, value, source_folder(folder, value), package_in(folder, project), True)


def source_folder(folder: Path, value: str) -> Path:
    """Return where a project's modules are."""
    top = value.partition(":")[0].partition(".")[0]
    there = (folder / "src" / top, folder / "src" / f"{top}.py")
    return folder / "src" if any(path.exists() for path in there) else folder


def file_target(path: Path) -> Target:
    """Return the plugin that is a module or a package, with the project around it if any."""
    above = path.parent
    around = (above, above.parent)
    folder = next((each for each in around if (each / "pyproject.toml").is_file()), None)
    if folder is not None:
        project = read_project(folder)
        declared = project.get("entry-points", {}).get(PROJECT, {})
        for name, value in declared.items():
            if value.partition(":")[0].partition(".")[0] == path.stem:
                return Target(name, value, above, package_in(folder, project), True)
        if project:
            return Target(named(path), path.stem, above, package_in(folder, project), False)
    return Target(named(path), path.stem, above, None, False)


def named(path: Path) -> str:
    """Return what a plugin without an entry point is called."""
    return path.stem.removeprefix(f"{PROJECT}_")


def read_project(folder: Path) -> Mapping[str, Any]:
    """Return ``[project]`` of pyproject.toml. Raises ``UsageError`` for what is no TOML."""
    file = folder / "pyproject.toml"
    try:
        project: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8")).get("project", {})
    except (OSError, ValueError) as error:
        raise UsageError(f"{file}: {error}") from error
    return project


def package_in(folder: Path, project: Mapping[str, Any]) -> Package:
    """Return what a project says of itself; what its build computes counts as said."""
    dynamic = project.get("dynamic", ())
    readme = project.get("readme", "")
    file = readme.get("file", "") if isinstance(readme, dict) else readme
    text = ""
    if file and (folder / file).is_file():
        text = (folder / file).read_text(encoding="utf-8", errors="replace")
    return Package(
        name=str(project.get("name", "")),
        version=str(project.get("version", "dynamic" if "version" in dynamic else "")),
        summary=str(project.get("description", "")),
        readme=text,
        requires=required(project.get("dependencies", ())),
    )


def imported(tree: ast.AST) -> Iterator[str]:
    """Yield the modules that a file imports, wherever in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
