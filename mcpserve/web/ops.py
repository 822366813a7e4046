"""For whoever watches the server: does it live, is it ready."""

from mcpserve.errors import DatabaseError
from mcpserve.web.base import BaseHandler


class HealthHandler(BaseHandler):
    """``GET /healthz``: the process lives."""

    authentication = "none"
    any_host = True

    async def get(self) -> None:
        """Say so."""
        self.write_json({"status": "ok"})


class ReadyHandler(BaseHandler):
    """``GET /readyz``: database and plugins are there."""

    authentication = "none"
    any_host = True

    async def get(self) -> None:
        """Answer 200, or 503 while stopping or without the database."""
        services = self.services
        database = "ok"
        try:
            await services.db.ping()
        except DatabaseError:
            database = "unavailable"
        ready = database == "ok" and not services.drain.stopping
        self.set_status(200 if ready else 503)
        self.write_json(
            {
                "status": "ready"
                if ready
                else "stopping"
                if services.drain.stopping
                else "unready",
                "database": database,
                "plugins": {
                    "loaded": list(services.plugins.names),
                    "skipped": dict(services.plugins.skipped),
                },
            }
        )
