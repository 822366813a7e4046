"""Reads YAML: safe, strict about keys that are there twice, with every problem at its place."""

from pathlib import Path
from typing import Any

import yaml
from yaml import YAMLError
from yaml.composer import ComposerError
from yaml.constructor import ConstructorError
from yaml.reader import ReaderError

from mcpserve.errors import ConfigError

__all__ = ["YAMLError", "parse_value", "read_file", "reason"]


def read_file(path: Path) -> dict[str, Any]:
    """Return the mapping that the file holds."""
    try:
        text = path.read_text("utf-8-sig")
        document = parse_yaml(text)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8 text") from None
    except YAMLError as error:
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
    """Return what the text says. Raises ``YAMLError``."""
    loader = Loader(text)
    try:
        node = loader.get_single_node()
        # Deep: at once, which refuses a collection that contains itself.
        return loader.construct_object(node, deep=True) if node else None
    finally:
        loader.dispose()


def parse_value(text: str) -> Any:
    """Return ``[…]``, ``{…}`` and quoted text as YAML reads them, and the rest as one scalar.

    So a password with ``: `` or `` #`` in it needs no quotes. Raises ``YAMLError``.
    """
    if text.startswith(("[", "{", '"', "'")):
        return parse_yaml(text)
    loader = Loader("")
    tag = loader.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
    return loader.construct_object(yaml.ScalarNode(tag, text))


def position(error: YAMLError, text: str) -> tuple[int, int]:
    """Return line and column, both from 1."""
    if isinstance(error, ReaderError):
        before = text[: error.position]
        return before.count("\n") + 1, len(before) - before.rfind("\n")
    mark = getattr(error, "problem_mark", None)
    return (mark.line + 1, mark.column + 1) if mark else (1, 1)


def reason(error: YAMLError) -> str:
    """Return the problem in one line. PyYAML quotes a part of the value in two cases."""
    if isinstance(error, ReaderError):
        return str(error.reason)
    problem = str(getattr(error, "problem", ""))
    if problem.startswith(("found undefined", "could not determine")):
        return "no such alias or tag; put text that starts with * or ! in quotes"
    return problem.removeprefix("but ")
