"""Security events: their lines in the log, and their page."""

import ast
import io
import json
import logging
import re
from contextlib import contextmanager, redirect_stderr
from pathlib import Path

import pytest
from pydantic import ValidationError

import mcpserve
from mcpserve import log
from mcpserve.audit import Event
from mcpserve.cli.operator import operator
from mcpserve.settings import CleanupSettings, LogSettings

PACKAGE = Path(mcpserve.__file__).parent
PAGE = PACKAGE.parent / "docs" / "reference" / "audit.md"


@contextmanager
def written(**settings):
    """Configure the log, and collect what is written."""
    root, audit = logging.getLogger(), logging.getLogger(log.AUDIT)
    before = (list(root.handlers), root.level, audit.level)
    with redirect_stderr(io.StringIO()) as lines:
        try:
            log.configure(LogSettings(**settings))
            yield lines
        finally:
            root.handlers[:], root.level, audit.level = before


@pytest.mark.proves("AD-03")
@pytest.mark.parametrize("format_", ["json", "text", "auto"])
@pytest.mark.parametrize("level", ["debug", "error"])
def test_an_event_is_one_json_object_in_every_format_at_every_level(format_, level):
    event = {"event": "token.refreshed", "network": "192.0.2.1", "details": {"code": 1, "state": 2}}
    with written(format=format_, level=level) as lines:
        logging.getLogger("mcpserve.audit").info("token.refreshed", extra=event)
    (line,) = lines.getvalue().splitlines()
    told = json.loads(line)
    assert {name: told[name] for name in event} == event
    assert (told["logger"], told["level"]) == ("mcpserve.audit", "info")


def test_other_lines_stay_text():
    with written(format="text") as lines:
        logging.getLogger("mcpserve.app").info("it works")
    assert lines.getvalue().endswith("info    it works\n")


@pytest.mark.parametrize("format_", ["json", "text"])
def test_a_name_in_an_event_cannot_steer_a_terminal(format_):
    name = "\x1b[2J\u202eTPG\x9b\u2028\U0001f600é"
    with written(format=format_) as lines:
        logging.getLogger("mcpserve.audit").info("x", extra={"details": {"client_name": name}})
    (line,) = lines.getvalue().split("\n")[:-1]
    assert line.isprintable()
    assert json.loads(line)["details"]["client_name"] == name
    assert "\U0001f600é" in line


def records():
    """Find every call that records something, with the events and the names of the details."""
    for module in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or ast.unparse(node.func) != "audit.record":
                continue
            names = [keyword.arg for keyword in node.keywords]
            events = re.findall(r"Event\.([A-Z_]+)", ast.unparse(node.args[1]))
            where = f"{module.name}:{node.lineno}"
            yield where, events, set(names) - {"grants", "client_id", "user_id"}


def documented():
    rows = re.findall(r"^\| `(\w+\.\w+)` \| .* \| (.*) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    return {event: set(re.findall(r"`(\w+)`", details)) for event, details in rows}


def test_every_event_is_documented():
    assert set(documented()) == {event.value for event in Event}


def test_details_are_exactly_those_that_are_documented():
    page = documented()
    found = [(where, Event[name], names) for where, all_, names in records() for name in all_]
    assert [row for row in found if row[2] != page[row[1].value]] == []
    assert {event for _, event, _ in found} == set(Event)


def test_no_detail_is_named_like_a_secret():
    # What is called so is blotted out elsewhere, and a reader would take it for one.
    allowed = {"browser_session", "client_name", "key_id"}
    words = (*log.SECRET_WORDS, "digest", "hash", "verifier", "challenge")
    names = set().union(*documented().values()) - allowed
    assert [name for name in names if any(word in name for word in words)] == []


@pytest.mark.proves("AD-02")
def test_the_operator_is_who_the_system_says_and_not_the_environment(monkeypatch):
    monkeypatch.delenv("SUDO_USER", raising=False)
    name = operator()
    for variable in ("USER", "LOGNAME", "USERNAME"):
        monkeypatch.setenv(variable, "somebody else")
    assert operator() == name
    assert name


@pytest.mark.proves("AD-02")
def test_who_became_the_operator_by_sudo_is_named_too(monkeypatch):
    monkeypatch.delenv("SUDO_USER", raising=False)
    name = operator()
    monkeypatch.setenv("SUDO_USER", "ann")
    assert operator() == f"{name} (sudo by ann)"
    monkeypatch.setenv("SUDO_USER", name)
    assert operator() == name


@pytest.mark.parametrize("kept", ["0s", "29d", "719h"])
def test_events_are_kept_for_a_month_at_least(kept):
    with pytest.raises(ValidationError, match="must be at least 30d"):
        CleanupSettings(events_kept=kept)
    assert CleanupSettings(events_kept="30d").events_kept.days == 30
