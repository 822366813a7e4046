"""Heads of answers, byte by byte."""

import pytest

from mcpserve.web import heads


def test_a_head_is_a_status_line_and_one_line_for_each_header():
    written = heads.written(404, {"Content-Type": "application/json", "Content-Length": "0"})
    assert written == (
        b"HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: 0\r\n\r\n"
    )


@pytest.mark.parametrize("break_", ["\r\n", "\n", "\r"])
def test_no_header_can_begin_another_one(break_):
    with pytest.raises(ValueError, match="line break"):
        heads.written(200, {"X-Request-Id": f"1{break_}Set-Cookie: a=b"})


def test_a_header_has_no_characters_that_no_header_can_carry():
    with pytest.raises(ValueError, match="latin-1"):
        heads.written(200, {"X-Request-Id": "\u20ac"})
