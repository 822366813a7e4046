"""What is wrong, as a command tells it."""

import pytest

from mcpserve.cli.common import told_errors
from mcpserve.errors import ConfigError, UsageError


@pytest.mark.parametrize(("error", "status"), [(ConfigError, 2), (UsageError, 1)])
def test_an_error_says_nothing_that_a_terminal_obeys(capsys, error, status):
    @told_errors
    def refuse():
        raise error("plugins.bad: \x1b]0;a title\x07 Grüße\r\n\x1b[2Jplugins.worse: \u202eno")

    with pytest.raises(SystemExit) as caught:
        refuse()
    assert caught.value.code == status
    told = capsys.readouterr().err
    assert told == "error: plugins.bad: ]0;a title Grüße\nerror: [2Jplugins.worse: no\n"
