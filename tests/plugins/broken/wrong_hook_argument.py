"""Takes an argument that the hook does not have."""

from mcpserve import hookimpl


@hookimpl
def mcpserve_tools(settings):
    return [settings]
