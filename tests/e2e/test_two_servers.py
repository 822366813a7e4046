"""What is tested elsewhere with one server, with two that share only the database."""

import pytest
from e2e import (
    pair,
    test_assertion_authentication,
    test_authorization_code,
    test_flow,
    test_refresh_reuse,
    test_refresh_token,
    test_registration,
    test_revocation,
)

MODULES = (
    test_assertion_authentication,
    test_authorization_code,
    test_flow,
    test_refresh_reuse,
    test_refresh_token,
    test_registration,
    test_revocation,
)

globals().update(
    {
        f"{module.__name__.rpartition('.')[2]}__{name}": test
        for module in MODULES
        for name, test in vars(module).items()
        if name.startswith("test_") and callable(test)
    }
)


@pytest.fixture(autouse=True)
def two_servers(monkeypatch):
    """Let what starts a server in those modules start two."""
    for module in MODULES:
        monkeypatch.setattr(module, "serving", pair.serving_two)
