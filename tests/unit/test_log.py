"""What is written to the log can be read, whatever it quotes."""

import json
import logging
import sys

import pytest

from mcpserve.log import JsonFormatter, TextFormatter

HOSTILE = "\x1b[2J\r\n21:00:00 info    a line that nobody wrote\u202e"


def record(message, *arguments):
    """Return a record of an exception that quotes what came in."""
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        return logging.LogRecord(
            "mcpserve", logging.ERROR, "", 1, message, arguments, sys.exc_info()
        )


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
def test_nothing_in_a_line_or_a_traceback_commands_the_terminal(formatter):
    lines = formatter.format(record("it said %s", HOSTILE)).split("\n")
    assert all(line.isprintable() for line in lines)
    assert "\\u001b[2J" in lines[0]


def test_no_line_of_a_traceback_looks_like_a_line_of_its_own():
    lines = TextFormatter().format(record("it failed")).split("\n")
    assert lines[0].endswith("it failed")
    assert lines[1] == "  Traceback (most recent call last):"
    assert all(line.startswith("  ") for line in lines[1:])
    assert "nobody wrote" in lines[-1]


def test_json_is_one_line():
    line = JsonFormatter().format(record("it failed"))
    assert json.loads(line)["exception"].endswith(HOSTILE)
