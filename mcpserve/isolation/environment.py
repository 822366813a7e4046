"""What a worker learns of the environment: nothing that could be a secret of the server."""

import os
import sys

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


def command() -> list[str]:
    """Return the command that starts a worker, as isolated from other packages as this process."""
    options = ["-I"] if sys.flags.isolated else []
    return [sys.executable, *options, "-m", "mcpserve.worker"]
