"""Cannot close what it opened."""

from mcpserve import hookimpl


def close():
    raise ConnectionError("gone")


@hookimpl
def mcpserve_tools(exit_stack):
    exit_stack.callback(close)
