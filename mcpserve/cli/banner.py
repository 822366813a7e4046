"""What the server says when it is ready: a few calm lines that tell how to go on."""

import logging
from pathlib import Path

import click

from mcpserve.app import Ready
from mcpserve.oauth import users
from mcpserve.settings import Settings
from mcpserve.supervision import Supervised
from mcpserve.version import __version__
from mcpserve.web import Services

logger = logging.getLogger(__name__)


def teller(settings: Settings, embedded: Supervised | None) -> Ready:
    """Return what is called once the server listens."""

    async def tell(services: Services) -> None:
        link = await first_user(services)
        issuer = services.server.issuer
        click.secho(f"mcpserve {__version__} · {issuer}", bold=True)
        line("MCP endpoint", f"{services.server.resource}   (paste this into your client)")
        line("database", database(services, embedded))
        tools = [bound.offer.name for bound in services.plugins.registry.tools]
        line("tools", " · ".join(tools) or "none yet: name plugins in config.yaml")
        if free := [bound.offer.name for bound in services.plugins.registry.open]:
            line("open", f"{' · '.join(free)}   (for everybody, without a login)")
        if collector := settings.tracing.endpoint:
            line("tracing", f"to {collector}")
        if left_out := [each.bound.offer.name for each in services.plugins.unapproved]:
            line("left out", f"{' · '.join(left_out)}   (not as pinned: mcpserve tools diff)")
        for name in services.plugins.skipped:
            line("skipped", f"{name}, see the log")
        if link and settings.server.loopback:
            line("first user", f"{link}   (works once, for 24 hours)")
        elif link:
            # Whoever reads the log runs the server; a terminal may be shared.
            logger.warning("create the first user, once, within 24 hours: %s", link)

    return tell


async def first_user(services: Services) -> str | None:
    """Return the link that creates the first user; ``None`` if there is one."""
    token = await users.new_setup_link(services.db)
    return f"{services.server.issuer}/setup?token={token}" if token else None


def database(services: Services, embedded: Supervised | None) -> str:
    """Say where the data is, without the password."""
    if embedded is not None:
        return f"embedded PostgreSQL {embedded.server.version} in {near(embedded.server.data_dir)}"
    return f"PostgreSQL, {services.db.server}"


def near(path: Path) -> str:
    """Return a path as seen from here, if it is below."""
    here = Path.cwd()
    return f"./{path.relative_to(here)}" if path.is_relative_to(here) else str(path)


def line(label: str, text: str) -> None:
    """Print one aligned line."""
    click.echo(f"  {label:<14} {text}")
