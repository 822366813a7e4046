"""A new plugin: a whole package, written from templates.

In a file of ``package``, ``NAME`` in its name and ``$name`` in its text are replaced; ``+`` in its
name means a folder, and the ending ``.in`` goes away.
"""

import builtins
import keyword
import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from string import Template

from mcpserve.errors import UsageError

TEMPLATES = Path(__file__).parent / "package"
LONGEST = 50
NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
CORE = "mcpserve"
PREFIX = f"{CORE}-"
TAKEN = frozenset({"config", "hookimpl", "tool"})
"""Names that the templates use where the tool is."""


@dataclass(frozen=True)
class NewPlugin:
    """The names of a plugin, all made from one."""

    name: str
    """In config.yaml, and of its tool: an identifier."""

    @classmethod
    def named(cls, name: str) -> "NewPlugin":
        """Return the plugin that somebody means. Raises :class:`~mcpserve.errors.UsageError`."""
        short = name.removeprefix(PREFIX).removeprefix(f"{CORE}_")
        if not NAME.fullmatch(short):
            raise UsageError(
                f"{name!r} cannot be the name of a plugin: use lower-case words of a-z and 0-9, "
                "joined by - and begun by a letter, such as reading-time"
            )
        if len(short) > LONGEST:
            raise UsageError(f"{name!r} is too long: {len(short)} characters of {LONGEST}")
        identifier = short.replace("-", "_")
        if keyword.iskeyword(identifier) or hasattr(builtins, identifier) or identifier in TAKEN:
            raise UsageError(f"{name!r} already means something in Python or in the templates")
        if identifier in sys.stdlib_module_names:
            raise UsageError(f"{name!r} is a module of Python's standard library")
        if identifier == CORE:
            raise UsageError(f"{name!r} is mcpserve itself")
        return cls(identifier)

    @property
    def distribution(self) -> str:
        """Of the package, normalized (PEP 503)."""
        return PREFIX + self.name.replace("_", "-")

    @property
    def module(self) -> str:
        """What is imported."""
        return f"mcpserve_{self.name}"

    @property
    def title(self) -> str:
        """For people."""
        return self.name.replace("_", " ").capitalize()

    def write(self, into: Path) -> Path:
        """Write the package, whole or not at all, and return its folder.

        Raises :class:`~mcpserve.errors.UsageError` if that exists, or cannot be written.
        """
        target = into / self.distribution
        if target.exists() or target.is_symlink():
            raise UsageError(f"{target} exists already: nothing was written")
        try:
            into.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=f".{self.distribution}-", dir=into) as folder:
                made = Path(folder, self.distribution)
                for template in sorted(TEMPLATES.iterdir()):
                    self._write_file(template, made)
                made.rename(target)
        except OSError as error:
            raise UsageError(f"cannot write {target}: {error.strerror}") from error
        return target

    def _write_file(self, template: Path, folder: Path) -> None:
        """Write one file. A template's name says where with ``+`` for ``/``."""
        inside = template.name.removesuffix(".in").replace("MODULE", self.module)
        path = folder.joinpath(*inside.replace("NAME", self.name).split("+"))
        path.parent.mkdir(parents=True, exist_ok=True)
        names = {"name": self.name, "module": self.module, "distribution": self.distribution}
        text = Template(template.read_text("utf-8")).substitute(names, title=self.title)
        path.write_text(text, "utf-8")
