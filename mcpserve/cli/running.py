"""Runs the server. Whoever imports this imports all that a server needs."""

import functools

from mcpserve import app, config, loop
from mcpserve.cli import banner
from mcpserve.cli.common import DatabaseServer
from mcpserve.config import Loaded
from mcpserve.processes.member import Member


def run(loaded: Loaded, server: DatabaseServer, member: Member | None) -> None:
    """Serve with this database until told to stop, see :func:`mcpserve.app.serve`."""
    loop.run(
        app.serve(
            functools.partial(config.load, loaded.path),
            loaded.settings,
            server.dsn,
            supervised=server.embedded,
            ready=banner.teller(loaded.settings, server.embedded),
            member=member,
        )
    )
