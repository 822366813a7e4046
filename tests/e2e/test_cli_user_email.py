"""``mcpserve user email``: the address that the operator vouches for."""

import pytest
from e2e.process import add_user, configure, invoke
from serving import PASSWORD, USER

ADDRESS = "alice@example.org"


@pytest.fixture
def config(dsn, tmp_path):
    return configure(tmp_path, dsn=dsn)


def done(config, *words, stdin=""):
    """Run a command that must succeed, and return what it printed."""
    result = invoke(config, *words, stdin=stdin)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


def listed(config):
    """Return the last column of the list of people."""
    head, *rows = done(config, "user", "list").splitlines()
    return [row[head.index("E-MAIL") :] for row in rows]


def test_an_address_is_set_changed_and_removed(config):
    add_user(config)
    assert listed(config) == ["-"]
    assert done(config, "user", "email", USER, ADDRESS) == f"{USER} has the address {ADDRESS}\n"
    assert listed(config) == [ADDRESS]
    done(config, "user", "email", USER.upper(), ADDRESS.upper(), "--unverified")
    assert listed(config) == [f"{ADDRESS.upper()} (unverified)"]
    done(config, "user", "email", USER, "--remove")
    assert listed(config) == ["-"]


def test_a_person_is_added_with_an_address(config):
    words = ("user", "add", USER, "--email", ADDRESS, "--password-stdin")
    done(config, *words, stdin=PASSWORD)
    assert listed(config) == [ADDRESS]


@pytest.mark.parametrize(
    ("words", "exit_code", "problem"),
    [
        (("email", "bob", ADDRESS), 1, "error: there is no user 'bob'\n"),
        (("email", "bob", "--remove"), 1, "error: there is no user 'bob'\n"),
        (("email", USER, "nonsense"), 1, "error: 'nonsense' is no e-mail address\n"),
        (("add", "bob", "--email", "x"), 1, "error: 'x' is no e-mail address\n"),
        (("email", USER), 2, "give either an address or --remove"),
        (("email", USER, ADDRESS, "--remove"), 2, "give either an address or --remove"),
    ],
)
def test_what_cannot_be_done_is_one_clear_line(config, words, exit_code, problem):
    result = invoke(config, "user", *words)
    assert (result.exit_code, result.stdout) == (exit_code, "")
    assert problem in result.stderr
