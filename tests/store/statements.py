"""Every place that sends SQL while the server runs, and how PostgreSQL answers what it sends."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import mcpserve

PACKAGE = Path(mcpserve.__file__).parent
MODULES = sorted(
    [PACKAGE / "audit.py", PACKAGE / "ratelimit.py", *PACKAGE.joinpath("oauth/store").glob("*.py")]
)
SENDING = {"row", "one", "rows", "execute", "lookup"}


class Place(NamedTuple):
    """A call that sends a statement."""

    module: str
    function: str
    first: int
    last: int

    @property
    def name(self) -> str:
        """Name the function."""
        return f"{self.module}:{self.function}"

    def __str__(self) -> str:
        return f"{self.module}:{self.first} ({self.function})"


def places() -> list[Place]:
    """Return all of them."""
    return [place for module in MODULES for place in _places(module)]


def _places(module: Path) -> Iterator[Place]:
    tree = ast.parse(module.read_text("utf-8"))
    for function in ast.walk(tree):
        if not isinstance(function, ast.AsyncFunctionDef):
            continue
        for node in ast.walk(function):
            sends = isinstance(node, ast.Call) and getattr(node.func, "attr", "") in SENDING
            if sends and getattr(node.func.value, "id", "") in {"db", "tx"}:
                yield Place(module.name, function.name, node.lineno, node.end_lineno)


def sent_from(known: list[Place]) -> Place | None:
    """Return which of these places is being executed, in whatever it called."""
    frame: FrameType | None = sys._getframe()
    files = {str(module) for module in MODULES}
    while frame is not None and frame.f_code.co_filename not in files:
        frame = frame.f_back
    if frame is None:
        return None
    module = Path(frame.f_code.co_filename).name
    for place in known:
        if place.module == module and place.first <= frame.f_lineno <= place.last:
            return place
    return None


def scans(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every node of a plan that reads a table."""
    if "Relation Name" in plan and "Scan" in plan["Node Type"]:
        yield plan
    for part in plan.get("Plans", ()):
        yield from scans(part)


def looks_up(scan: dict[str, Any]) -> bool:
    """Whether a scan goes to its rows by a condition on an index, or by their place."""
    conditions = {"Index Cond", "TID Cond"}
    parts = [scan]
    for part in parts:
        parts += part.get("Plans", ())
    return any(conditions & part.keys() for part in parts)


def describe(scan: dict[str, Any]) -> str:
    """Return what a reader needs of a scan."""
    shown = ("Node Type", "Relation Name", "Index Name", "Index Cond", "Filter", "Plan Rows")
    return ", ".join(str(scan[key]) for key in shown if key in scan)


GROW = """
SET LOCAL session_replication_role = replica;
-- Each person has many grants, and each grant many tokens; most of them are spent.
CREATE TEMP TABLE more ON COMMIT DROP AS
    SELECT gen_random_uuid() AS id, 'client-' || (u.i * 7 + g) % {people} AS client_id,
           u.id AS user_id, clock_timestamp() - g * interval '1 day' AS created_at,
           clock_timestamp() + interval '30 days' AS expires_at, g % 3 = 0 AS ended
    FROM (SELECT id, row_number() OVER () AS i FROM users) u, generate_series(1, {grants}) g;
INSERT INTO mcp_sessions (id, client_id, user_id, scopes, resource, state, created_at, auth_time,
        expires_at, ended_at)
    SELECT id, client_id, user_id, ARRAY['mcp.tools.call'], '{resource}',
           CASE WHEN ended THEN 'revoked' ELSE 'active' END, created_at, created_at, expires_at,
           CASE WHEN ended THEN clock_timestamp() END
    FROM more;
INSERT INTO oauth_refresh_tokens (digest, session_id, parent_id, expires_at, rotated_at, revoked_at)
    SELECT sha256(uuid_send(gen_random_uuid())), id, CASE WHEN n > 1 THEN gen_random_uuid() END,
           expires_at, CASE WHEN n < {tokens} THEN created_at END,
           CASE WHEN ended THEN clock_timestamp() END
    FROM more, generate_series(1, {tokens}) n;
INSERT INTO oauth_access_tokens (digest, session_id, scopes, expires_at, revoked_at)
    SELECT sha256(uuid_send(gen_random_uuid())), id, ARRAY['mcp.tools.call'],
           clock_timestamp() + (n - {tokens} + 1) * interval '15 minutes',
           CASE WHEN ended THEN clock_timestamp() END
    FROM more, generate_series(1, {tokens}) n;
INSERT INTO auth_events (event, grant_id, client_id, user_id, details)
    SELECT event, CASE WHEN event LIKE 'token%' THEN id END, client_id, user_id,
           jsonb_build_object('browser_session', gen_random_uuid())
    FROM more, unnest(ARRAY['token.refreshed', 'token.revoked', 'login.succeeded',
                            'client.changed']) event;
CREATE TEMP TABLE short ON COMMIT DROP AS
    SELECT i, sha256(int4send(i)) AS digest, clock_timestamp() + interval '1 minute' AS expires_at
    FROM generate_series(1, {short}) i;
INSERT INTO rate_limits SELECT digest, 1, expires_at FROM short;
INSERT INTO oauth_client_assertions SELECT digest, expires_at FROM short;
INSERT INTO browser_sessions (digest, expires_at) SELECT digest, expires_at FROM short;
INSERT INTO oauth_documents (url, body, fresh_until)
    SELECT 'https://client.example/' || i, '{{}}', expires_at FROM short;
UPDATE oauth_clients SET origin = 'registration', last_used_at = clock_timestamp()
    WHERE substr(client_id, 8)::int > 50;
"""
"""What :func:`store.lab.populate` made for so many people, after a year."""
