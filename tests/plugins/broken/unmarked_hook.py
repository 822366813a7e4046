"""Has a hook that nobody sees."""


def forecast() -> str:
    """Forecast."""
    return "sun"


def mcpserve_tools():
    return [forecast]
