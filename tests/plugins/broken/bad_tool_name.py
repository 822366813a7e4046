"""Has a tool with a name that clients refuse."""

from mcpserve import hookimpl, tool


@tool(name="forecast for today")
def forecast() -> str:
    """Forecast."""
    return "sun"


@hookimpl
def mcpserve_tools():
    return [forecast]
