"""What a worker learns of the environment: nothing that could be a secret of the server."""

import os
import sys

from mcpserve.errors import PluginError

PASSED = frozenset(
    {
        "PATH",
        "HOME",
        "USER",
        "LOGNAME",
        "SHELL",
        "LANG",
        "LANGUAGE",
        "TZ",
        "TMPDIR",
        "TEMP",
        "TMP",
        "VIRTUAL_ENV",
        "PYTHONPATH",
        "PYTHONHOME",
        "LD_LIBRARY_PATH",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "NO_PROXY",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
    }
)
"""Names of variables; those of the locale (``LC_…``) as well."""


def environment() -> dict[str, str]:
    """Return the environment of a worker."""
    return {
        name: value
        for name, value in os.environ.items()
        if name.upper() in PASSED or name.startswith("LC_")
    }


def command(plugin: str) -> list[str]:
    """Return the command that starts a worker.

    Raises :class:`PluginError` in the single file, which has no Python to start.
    """
    if getattr(sys, "frozen", False):
        raise PluginError(plugin, "isolation: not in the single file; install mcpserve with pip")
    return [sys.executable, "-m", "mcpserve.worker"]
