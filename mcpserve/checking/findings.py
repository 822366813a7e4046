"""What a check says."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    """How bad it is."""

    ERROR = "error"
    """It does not work, is dangerous, or some client refuses it."""
    WARNING = "warning"


@dataclass(frozen=True)
class Rule:
    """What a plugin should be like."""

    code: str
    """Never given another meaning."""
    severity: Severity
    about: str
    """What is wrong, where a finding has nothing more exact to say."""
    fix: str
    """What to do, in one sentence."""


@dataclass(frozen=True)
class Finding:
    """A rule that a plugin breaks."""

    rule: Rule
    place: str = ""
    """Where in the plugin: ``tool forecast, argument city``; empty for the whole."""
    detail: str = ""
    """What is wrong there, instead of what the rule says in general."""

    @property
    def text(self) -> str:
        """Where it is and what is wrong, in one line."""
        return f"{self.place}: {self.told}" if self.place else self.told

    @property
    def told(self) -> str:
        """What is wrong."""
        return " ".join((self.detail or self.rule.about).split())


def to_json(finding: Finding) -> dict[str, str]:
    """Return what :func:`from_json` reads."""
    return {"code": finding.rule.code, "place": finding.place, "detail": finding.detail}


def from_json(value: Mapping[str, Any], rules: Iterable[Rule]) -> Finding:
    """Return the finding. Raises :class:`LookupError` for what is none."""
    by_code = {rule.code: rule for rule in rules}
    return Finding(by_code[value["code"]], str(value["place"]), str(value["detail"]))
