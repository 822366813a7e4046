"""Has an argument of a type that JSON does not know."""

from mcpserve import hookimpl


class Connection:
    pass


def forecast(connection: Connection) -> str:
    """Forecast."""
    return str(connection)


@hookimpl
def mcpserve_tools():
    return [forecast]
