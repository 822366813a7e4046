"""The SDK's models of each method in each version of MCP, which it keeps to itself."""

from importlib import import_module

from pydantic import BaseModel, ConfigDict


def load() -> None:
    """Import them before anybody else does, without building them.

    There are hundreds, and a server uses some tens: pydantic builds each when a message is checked
    against it for the first time, which only the event loop does. The types that plugins use, and
    the models of plugins, are not among them, so those are built and refused at once as ever.
    """
    import_module("mcp_types")
    usual = BaseModel.model_config
    BaseModel.model_config = ConfigDict(**usual, defer_build=True)
    try:
        import_module("mcp_types.methods")
    finally:
        BaseModel.model_config = usual
