"""For authors of plugins: use one as the server would, in a test.

:func:`load_plugin` needs no installation, server, database or token. :func:`running_server` has all
of them, :func:`recorded_http` keeps tests off the Internet. ``pytest_mcpserve`` offers the three as
fixtures.
"""

from mcpserve.errors import PluginError
from mcpserve.testing.loading import LoadedPlugin, load_plugin
from mcpserve.testing.recording import Recorder, UnrecordedRequest, recorded_http
from mcpserve.testing.running import RunningServer, running_server, temporary_database

__all__ = [
    "LoadedPlugin",
    "PluginError",
    "Recorder",
    "RunningServer",
    "UnrecordedRequest",
    "load_plugin",
    "recorded_http",
    "running_server",
    "temporary_database",
]
