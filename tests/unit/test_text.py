"""What strangers write, as people and terminals get to see it."""

import logging

import pytest

from mcpserve.log import TextFormatter
from mcpserve.strict_json import loads
from mcpserve.text import clean


@pytest.mark.proves("CO-01", "SE-05")
@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Claude", "Claude"),
        ("Crème Brûlée", "Crème Brûlée"),
        ("e\u0301\u0323te\u0301", "e\u0301\u0323te\u0301"),
        ("\u3164", "unnamed"),
        ("\u2800\u2800", "unnamed"),
        ("...", "unnamed"),
        ("A\u3164cme", "Acme"),
        ("a" + "\u0301" * 90, "a\u0301\u0301"),
        ("a" + "\u0489" * 99 + "b", "a\u0489\u0489b"),
        ("\u202eevil", "evil"),
        ("a" * 200, "a" * 100),
    ],
)
def test_a_name_is_something_that_people_can_read(name, shown):
    assert clean(name) == shown


@pytest.mark.proves("SE-05")
def test_a_line_of_text_does_nothing_to_a_terminal():
    record = logging.makeLogRecord(
        {"msg": "GET /x\x9b31m\u202e\u2028FAKE", "client_name": "a\x1b[2J", "levelname": "INFO"}
    )
    line = TextFormatter().format(record)
    assert line.isprintable()
    assert "FAKE" in line


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1, "a": 1}',
        '{"a": {"b": 1, "b": 2}}',
        '{"a": NaN}',
        "[Infinity, -Infinity]",
        '"\\ud800"',
        "{'a': 1}",
        "",
        "[" * 100_000,
    ],
)
def test_what_one_could_read_in_two_ways_is_no_json(text):
    with pytest.raises(ValueError):  # noqa: PT011 - the texts are Python's
        loads(text)


def test_json_is_read():
    assert loads('{"a": [1, 2.5, null, true, "\\u00fc"]}') == {"a": [1, 2.5, None, True, "ü"]}
