"""MCP: one POST to ``/mcp`` and its answer, in either era.

Headers and body go in, a :class:`Reply` comes out, nothing is kept. Knows no HTTP server and no
database.
"""

from mcpserve.protocol.exchange import Exchange
from mcpserve.protocol.messages import Headers, Reply
from mcpserve.protocol.rounds import Seal

__all__ = ["Exchange", "Headers", "Reply", "Seal"]
