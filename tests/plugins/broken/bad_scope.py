"""Asks for a scope that no token can have."""

from mcpserve import hookimpl, tool


@hookimpl
def mcpserve_tools():
    @tool(scopes=["read write"])
    def forecast() -> str:
        """Forecast."""
        return "sun"

    return [forecast]
