"""Shows a tool on a page that it does not offer."""

from mcpserve import hookimpl, tool


@tool(meta={"ui": {"resourceUri": "ui://forecast/card"}})
def forecast() -> str:
    """Forecast."""
    return "sun"


@hookimpl
def mcpserve_tools():
    return [forecast]
