"""Offers a tool twice."""

from mcpserve import hookimpl


def forecast() -> str:
    """Forecast."""
    return "sun"


@hookimpl
def mcpserve_tools():
    return [forecast, forecast]
