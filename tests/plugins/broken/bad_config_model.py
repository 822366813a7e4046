"""Returns something else than the model of its config."""

from mcpserve import hookimpl


@hookimpl
def mcpserve_config():
    return {"city": str}
