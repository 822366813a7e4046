"""Fixtures of the tests in this folder."""

import pytest
from store import processes

pytest.register_assert_rewrite("store.checks")


@pytest.fixture(scope="session")
def workers():
    """Two processes that do what they are told."""
    with processes.started(2) as workers:
        yield workers
