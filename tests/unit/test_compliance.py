"""Every line of the checklist has a test or a reason, and the page says so."""

import re

import pytest

from docs import generate_compliance as compliance

TITLES, LINES = compliance.checklist()
PROOFS = compliance.proofs()


def test_every_line_has_a_test_or_a_reason():
    assert compliance.missing(LINES, PROOFS) == []


def test_no_test_names_a_line_that_does_not_exist():
    assert [proof for proof in PROOFS if proof.line not in LINES] == []


def test_the_page_is_what_the_tests_say():
    page = compliance.TARGET.read_text(encoding="utf-8")
    assert page == compliance.page(TITLES, LINES, PROOFS), "run ./dev docs"


@pytest.mark.parametrize("name", LINES)
def test_a_line_is_short_and_of_a_section(name):
    line = LINES[name]
    assert re.fullmatch(f"({'|'.join(TITLES)})-R?[0-9]+", name)
    assert line.level in ("M", "S", "O")
    assert 0 < len(line.what) <= 160
    assert "|" not in line.what + line.reason + line.decided
    assert not (line.reason and line.decided)


def test_a_must_is_not_left_out_for_want_of_the_feature():
    assert [
        n for n, line in LINES.items() if line.level == "M" and "Not built" in line.reason
    ] == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('@pytest.mark.proves("TR-01")\ndef test_a(): pass', [("test_a", "TR-01")]),
        (
            '@pytest.mark.proves("TR-01", "TR-02")\nasync def test_a(dsn): pass',
            [("test_a", "TR-01"), ("test_a", "TR-02")],
        ),
        (
            '@pytest.mark.proves("TR-01")\n@other\n@pytest.mark.proves("TR-02")\ndef test_a(): 0',
            [("test_a", "TR-01"), ("test_a", "TR-02")],
        ),
        ('@mark.proves("TR-01")\ndef test_a(): pass', [("test_a", "TR-01")]),
        (
            'pytestmark = pytest.mark.proves("TR-01")\ndef test_a(): 0\ndef test_b(): 0',
            [("test_a", "TR-01"), ("test_b", "TR-01")],
        ),
        (
            'pytestmark = [pytest.mark.slow, pytest.mark.proves("TR-01")]\ndef test_a(): 0',
            [("test_a", "TR-01")],
        ),
        (
            '@pytest.mark.parametrize("x", [pytest.param(1, marks=pytest.mark.proves("TR-01"))])\n'
            "def test_a(x): pass",
            [("test_a", "TR-01")],
        ),
        (
            'CASES = [pytest.param(1, marks=[pytest.mark.proves("TR-01")]), 2]\n'
            '@pytest.mark.parametrize("x", CASES)\ndef test_a(x): pass',
            [("test_a", "TR-01")],
        ),
        (
            'CASES = [pytest.param(1, marks=pytest.mark.proves("TR-01")),\n'
            ' pytest.param(2, marks=pytest.mark.proves("TR-01"))]\n'
            '@pytest.mark.parametrize("x", CASES)\ndef test_a(x): pass',
            [("test_a", "TR-01")],
        ),
        ("def test_a(): pass", []),
        ("def test_a(): assert code.proves", []),
    ],
)
def test_the_markers_of_a_module_are_found(source, found):
    assert compliance.markers(source, "test_a.py") == found


@pytest.mark.parametrize(
    "source",
    [
        '@pytest.mark.proves("TR-01")\ndef helper(): pass',
        '@pytest.fixture\n@pytest.mark.proves("TR-01")\ndef thing(): pass',
        'class TestA:\n    @pytest.mark.proves("TR-01")\n    def test_a(self): pass',
        'def test_a():\n    pytest.mark.proves("TR-01")',
        'def test_a(request):\n    request.applymarker(pytest.mark.proves("TR-01"))',
        'pytestmark = pytest.mark.proves("TR-01")\ndef helper(): pass',
        'if True:\n    @pytest.mark.proves("TR-01")\n    def test_a(): pass',
        'line = pytest.mark.proves\n@line("TR-01")\ndef test_a(): pass',
        'LINES = ["TR-01"]\n@pytest.mark.proves(*LINES)\ndef test_a(): pass',
        'LINE = "TR-01"\n@pytest.mark.proves(LINE)\ndef test_a(): pass',
        "@pytest.mark.proves\ndef test_a(): pass",
        "@pytest.mark.proves()\ndef test_a(): pass",
        '@pytest.mark.proves(line="TR-01")\ndef test_a(): pass',
    ],
)
def test_a_marker_that_would_be_missed_is_an_error(source):
    with pytest.raises(compliance.BadMarkerError):
        compliance.markers(source, "test_a.py")


def test_a_marker_where_no_tests_are_looked_for_is_an_error():
    with pytest.raises(compliance.BadMarkerError):
        compliance.markers('@pytest.mark.proves("TR-01")\ndef test_a(): pass', "checks.py")


def line(**reasons):
    return compliance.Line("M", "What is asked.", **reasons)


@pytest.mark.parametrize(
    ("given", "tests", "status"),
    [
        (line(), ["test_it"], "proven"),
        (line(reason="Slow ones are not."), ["test_it"], "proven. Slow ones are not."),
        (line(reason="Not built: it."), [], "Not built: it."),
        (line(decided="Less."), ["test_it"], "decided otherwise: Less."),
        (line(decided="Less."), [], "decided otherwise: Less."),
        (line(), [], "**missing**"),
    ],
)
def test_the_status_says_what_became_of_a_line(given, tests, status):
    proofs = [compliance.Proof("TR-01", "tests/test_x.py", test) for test in tests]
    page = compliance.page({"TR": "Transport"}, {"TR-01": given}, proofs)
    last = page.splitlines()[-1]
    assert last.startswith("| TR-01 | M | What is asked. |")
    assert last.endswith(f"| {status} |")
    assert last.count("[it](../../tests/test_x.py)") == len(tests)
    assert compliance.missing({"TR-01": given}, proofs) == (["TR-01"] if "miss" in status else [])


def test_the_page_refuses_an_unknown_line():
    with pytest.raises(KeyError):
        compliance.page({}, {}, [compliance.Proof("TR-99", "tests/test_x.py", "test_it")])
