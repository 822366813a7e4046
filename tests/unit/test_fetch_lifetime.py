"""How long a fetched document may be kept, by what its headers say."""

from datetime import timedelta

import pytest
from tornado.httputil import HTTPHeaders

from mcpserve.fetch import lifetime

DATE = "Date: Sun, 06 Nov 1994 08:49:37 GMT"
LATER = "Expires: Sun, 06 Nov 1994 08:59:37 GMT"


def seconds(*lines):
    found = lifetime(HTTPHeaders.parse("\r\n".join(lines)))
    return None if found is None else found / timedelta(seconds=1)


@pytest.mark.proves("CM-03")
@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], None),
        ([DATE], None),
        (["Age: 5"], None),
        (["Cache-Control: public"], None),
        (["Cache-Control:"], None),
        (["Cache-Control: s-maxage=9, max-stale=9, min-fresh=9, x-max-age=9, max-age-x=9"], None),
        (["Pragma: no-cache"], None),
        (["Cache-Control: max-age=60"], 60),
        (["cache-control: PUBLIC , Max-Age = 60 ,"], 60),
        (['Cache-Control: max-age="60"'], 60),
        (["Cache-Control: public", "Cache-Control: max-age=60"], 60),
        (["Cache-Control: max-age=60, max-age=30"], 30),
        (["Cache-Control: max-age=60", "Age: 20"], 40),
        (["Cache-Control: max-age=60", "Age: 60"], 0),
        (["Cache-Control: max-age=60", "Age: 61"], 0),
        (["Cache-Control: max-age=60", "Age: soon"], 60),
        (["Cache-Control: max-age=60", "Age: -5"], 60),
        (["Cache-Control: max-age=60", "Age: " + "9" * 5000], 0),
        (["Cache-Control: max-age=0"], 0),
        (["Cache-Control: max-age=00060"], 60),
        (["Cache-Control: max-age=99999999999999999999"], 2**31),
        (["Cache-Control: max-age=" + "9" * 5000], 2**31),
        (["Cache-Control: max-age=-1"], 0),
        (["Cache-Control: max-age=1.5"], 0),
        (["Cache-Control: max-age=1e9"], 0),
        (["Cache-Control: max-age=²"], 0),
        (["Cache-Control: max-age"], 0),
        (["Cache-Control: max-age="], 0),
        (["Cache-Control: no-store"], 0),
        (["Cache-Control: no-cache"], 0),
        (["Cache-Control: NO-STORE, max-age=60"], 0),
        (["Cache-Control: max-age=60, no-cache"], 0),
        (["Cache-Control: max-age=60", "Cache-Control: no-store"], 0),
        (['Cache-Control: no-cache="Set-Cookie, X", max-age=60'], 0),
        ([DATE, LATER], 600),
        ([DATE, LATER, "Age: 100"], 500),
        ([DATE, LATER, "Age: 601"], 0),
        ([DATE, LATER, "Cache-Control: max-age=60"], 60),
        ([DATE, LATER, "Cache-Control: no-store"], 0),
        ([DATE, LATER, "Cache-Control: public"], 600),
        ([DATE, "Expires: Sun, 06 Nov 1994 08:39:37 GMT"], 0),
        ([DATE, "Expires: Sun, 06 Nov 1994 08:49:37 GMT"], 0),
        ([DATE, "Expires: 0"], 0),
        ([DATE, "Expires: -1"], 0),
        ([DATE, "Expires:"], 0),
        ([DATE, "Expires: Sun, 06 Nov 99999 08:59:37 GMT"], 0),
        ([DATE, "Expires: Sun, 32 Nov 1994 08:59:37 GMT"], 0),
        ([DATE, "Expires: Sun, 06 Nov 1994 08:59:37 +0100"], 0),
        ([LATER], 0),
        ([LATER, "Date: today"], 0),
    ],
)
def test_the_lifetime_is_what_the_headers_say(lines, expected):
    assert seconds(*lines) == expected
